// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <gtest/gtest.h>

namespace cacheready {
namespace {

TEST(Error, CarriesTheFormattedMessage) {
  try {
    Fail("{}: {} rows, expected {}", "f", 3, 4);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "f: 3 rows, expected 4");
  }
}

// A tensor may be called "\0", or carry a terminal's escape codes.
TEST(Error, ShowsControlCharactersInsteadOfSendingThem) {
  const std::string name("a\0b\033[2J\x7F\né", 11);
  EXPECT_STREQ(Error(name).what(), "a\\x00b\\x1b[2J\\x7f\né");
}

TEST(Error, CutsAMessageOfMegabytes) {
  EXPECT_LT(std::string(Error(std::string(5'000'000, 'x')).what()).size(), 9000u);
}

}  // namespace
}  // namespace cacheready
