// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/math.h"

namespace cacheready {
namespace {

// A one-word hash is the first output of SplitMix64 seeded with the word; the published outputs for
// seed 1234567.
TEST(Random, HashWordsIsSplitMix64) {
  constexpr std::uint64_t kStep = 0x9E3779B97F4A7C15u;
  EXPECT_EQ(HashWords({1234567}), 6457827717110365317u);
  EXPECT_EQ(HashWords({1234567 + kStep}), 3203168211198807973u);
  EXPECT_EQ(HashWords({1234567 + 2 * kStep}), 9817491932198370423u);
}

TEST(Random, HashWordsChainsItsWords) {
  EXPECT_EQ(HashWords({3, 5}), HashWords({HashWords({3}) ^ 5}));
  EXPECT_NE(HashWords({3, 5}), HashWords({5, 3}));
  EXPECT_NE(HashWords({3}), HashWords({3, 0}));
}

TEST(Random, HashTextIsXxh3) {
  EXPECT_EQ(HashText(0, ""), 0x2D06800538D394C2u);  // published for the empty input
  EXPECT_NE(HashText(0, "a"), HashText(1, "a"));
}

TEST(Random, UniformFillsTheUnitIntervalEvenly) {
  constexpr int kDraws = 100'000;
  std::array<int, 100> buckets{};
  for (int i = 0; i < kDraws; ++i) {
    const double u = UniformAt(1, static_cast<std::uint64_t>(i));
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    ++buckets[static_cast<std::size_t>(u * 100)];
  }
  double chi_square = 0;
  for (const int b : buckets) chi_square += (b - 1000.0) * (b - 1000.0) / 1000.0;
  EXPECT_LT(chi_square, 148.2);  // 99.9 % point with 99 degrees of freedom
  EXPECT_GT(chi_square, 60.0);   // more even than chance would be wrong, too
}

TEST(Random, NormalIsStandardNormal) {
  constexpr int kDraws = 100'000;
  std::vector<double> values;
  for (int i = 0; i < kDraws; ++i) values.push_back(NormalAt(2, static_cast<std::uint64_t>(i)));
  std::sort(values.begin(), values.end());
  double distance = 0;  // Kolmogorov-Smirnov
  for (int i = 0; i < kDraws; ++i) {
    const double cdf = NormalCdf(values[static_cast<std::size_t>(i)]);
    distance = std::max({distance, std::abs(cdf - static_cast<double>(i) / kDraws),
                         std::abs(cdf - (i + 1.0) / kDraws)});
  }
  EXPECT_LT(distance, 1.95 / std::sqrt(kDraws));  // 99.9 % point
}

TEST(Random, AStreamReadsTheValuesOfItsSeedInOrder) {
  RandomStream stream(5);
  EXPECT_EQ(stream.Uniform(), UniformAt(5, 0));
  EXPECT_EQ(stream.Normal(), NormalAt(5, 1));
  EXPECT_EQ(stream.Next(), HashWords({5, 2}));
}

TEST(Random, BelowIsUnbiased) {
  RandomStream stream(9);
  std::array<int, 3> counts{};
  for (int i = 0; i < 30'000; ++i) ++counts[stream.Below(3)];
  for (const int c : counts) EXPECT_NEAR(c, 10'000, 4 * std::sqrt(30'000 * 2.0 / 9));
  EXPECT_EQ(stream.Below(1), 0u);
}

// With a bound of 3/4 * 2^64, taking Next() modulo the bound would return the lower third twice as
// often as each of the others.
TEST(Random, BelowIsUnbiasedForHugeBounds) {
  constexpr std::uint64_t kBound = std::uint64_t{3} << 62;
  RandomStream stream(10);
  std::array<int, 3> counts{};
  for (int i = 0; i < 30'000; ++i) {
    const std::uint64_t value = stream.Below(kBound);
    ASSERT_LT(value, kBound);
    ++counts[value >> 62];
  }
  for (const int c : counts) EXPECT_NEAR(c, 10'000, 4 * std::sqrt(30'000 * 2.0 / 9));
}

}  // namespace
}  // namespace cacheready
