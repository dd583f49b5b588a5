// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tensor/float_formats.h"
namespace cacheready {
TEST(FloatFormats, RoundTripsEveryE4m3Code) {
  for (int c = 0; c < 256; ++c) {
    if ((c & 127) == 127) continue;
    EXPECT_EQ(FloatToE4m3(E4m3ToFloat(static_cast<std::uint8_t>(c))), c);
  }
}
}  // namespace cacheready
