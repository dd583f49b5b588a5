// The same plan, whatever it was made with.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/parallel.h"
#include "controls/controls.h"
#include "synth/planted.h"
#include "synth/shuffle.h"

namespace cacheready {
namespace {

const ScanChoices kShort{.tokens = 4096, .document_tokens = 128};

std::string PlanText(const std::filesystem::path& checkpoint, const std::string& name) {
  return WriteJson(ToJson(ScannedModel(checkpoint, name, kShort).MakePlan()));
}

TEST(RepeatabilityControl, PlansAreEqualForAnyThreadsAndAnyShards) {
  const std::filesystem::path planted = Scratch("planted"), shuffled = Scratch("shuffled");
  PlantedOptions options;
  options.row_noise = 0.05;
  WritePlanted(Checkpoint::Open(ShippedModel("reference-fp8")), options, planted);
  WriteShuffled(Checkpoint::Open(planted), 7, 3, shuffled);
  SetNumThreads(2);
  const std::string two = PlanText(planted, "two threads");
  const std::string in_shards = PlanText(shuffled, "other shards");
  SetNumThreads(1);
  const std::string one = PlanText(planted, "one thread");
  EXPECT_NE(one.find("\"members\""), std::string::npos);
  EXPECT_TRUE(one == two);
  EXPECT_TRUE(in_shards == two);
}

}  // namespace
}  // namespace cacheready
