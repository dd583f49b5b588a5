// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>

#include "base/math.h"
namespace cacheready {
TEST(Math, Exp) { EXPECT_NEAR(Exp(1.0), std::exp(1.0), 1e-15); }
}  // namespace cacheready
