// SPDX-License-Identifier: Apache-2.0
#include "base/phases.h"

#include <gtest/gtest.h>

#include "base/clock.h"

namespace cacheready {
namespace {

void Spend(double seconds) {
  for (const double end = Seconds() + seconds; Seconds() < end;) {
  }
}

TEST(Phases, ChargeTimeToTheInnermostPhaseAlone) {
  EXPECT_EQ(PhaseText(), "");
  const double begin = Seconds();
  {
    const Phase outer("outer");
    Spend(0.02);
    {
      const Phase inner("inner");
      Spend(0.06);
    }
    Spend(0.02);
  }
  const double all = Seconds() - begin;
  Spend(0.02);  // in no phase
  const std::vector<PhaseTime> times = PhaseTimes();
  ASSERT_EQ(times.size(), 2u);
  EXPECT_EQ(times[0].name, "inner");
  EXPECT_GE(times[0].seconds, 0.06);
  EXPECT_GE(times[1].seconds, 0.04);
  EXPECT_LE(times[0].seconds + times[1].seconds, all);
  EXPECT_GT(times[0].cpu_seconds, 0);
  EXPECT_TRUE(PhaseText().starts_with("inner 0."));
}

}  // namespace
}  // namespace cacheready
