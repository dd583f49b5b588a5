// SPDX-License-Identifier: Apache-2.0
#include "base/console.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>

#include "base/error.h"

namespace cacheready {
namespace {

std::string Printed(Verbosity verbosity) {
  SetVerbosity(verbosity);
  testing::internal::CaptureStderr();
  Note("note");
  Detail("detail");
  Warn("odd");
  SetVerbosity(Verbosity::kNormal);
  return testing::internal::GetCapturedStderr();
}

TEST(Console, PrintsWhatTheVerbosityAsksForAndWarningsAlways) {
  EXPECT_EQ(Printed(Verbosity::kQuiet), "warning: odd\n");
  EXPECT_EQ(Printed(Verbosity::kNormal), "note\nwarning: odd\n");
  EXPECT_EQ(Printed(Verbosity::kVerbose), "note\ndetail\nwarning: odd\n");
}

TEST(Console, TellsDurationsInTheTwoLargestUnits) {
  EXPECT_EQ(DurationText(0.4), "0 s");
  EXPECT_EQ(DurationText(41.2), "41 s");
  EXPECT_EQ(DurationText(185), "3 min 05 s");
  EXPECT_EQ(DurationText(7 * 3600 + 65), "7 h 01 min");
}

TEST(Console, ProgressIsSilentInAPipe) {
  testing::internal::CaptureStderr();
  {
    Progress progress("layer", 3);
    progress.Update(1);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(ConsoleDeathTest, TheFirstSignalAsksAndTheSecondEndsTheProgram) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto first_signal = [] {
    InstallInterruptHandler();
    if (InterruptRequested()) std::_Exit(1);
    ThrowIfInterrupted();
    std::raise(SIGTERM);
    if (!InterruptRequested()) std::_Exit(2);
    try {
      ThrowIfInterrupted();
    } catch (const Interrupted&) {
      std::_Exit(75);
    }
    std::_Exit(3);
  };
  EXPECT_EXIT(first_signal(), testing::ExitedWithCode(75), "");
  const auto second_signal = [] {
    InstallInterruptHandler();
    std::raise(SIGTERM);
    std::raise(SIGTERM);
    std::_Exit(0);
  };
  EXPECT_EXIT(second_signal(), testing::KilledBySignal(SIGTERM), "");
}

TEST(ConsoleDeathTest, AFailedCheckSaysWhereAndWhat) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(CR_CHECK(1 > 2, "rows {}", 7),
               "console_test.cc:[0-9]+: check failed: 1 > 2: rows 7");
}

}  // namespace
}  // namespace cacheready
