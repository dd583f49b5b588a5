// SPDX-License-Identifier: Apache-2.0
#include "synth/normal_weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>

#include "base/error.h"
#include "base/parallel.h"
#include "synth/scratch_folder.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

constexpr std::uint64_t kBegin = 11;

// The data of `shard` after kBegin bytes that are 7 each, as WriteNormalWeights leaves them.
std::vector<std::uint8_t> Written(const NewShard& shard, std::uint64_t seed) {
  const ScratchFolder scratch;
  std::uint64_t size = kBegin;
  for (const NewTensor& tensor : shard) size += StoredBytes(tensor);
  std::ofstream(scratch / "file", std::ios::binary) << std::string(size, '\7');
  WriteNormalWeights(scratch / "file", kBegin, shard, seed);
  std::ifstream file(scratch / "file", std::ios::binary);
  std::vector<std::uint8_t> bytes{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(bytes.size(), size);
  for (std::size_t i = 0; i < kBegin; ++i) EXPECT_EQ(bytes[i], 7);
  bytes.erase(bytes.begin(), bytes.begin() + kBegin);
  return bytes;
}

// Mean and deviation of numbers that value(i) gives for i < count.
template <typename Value>
void ExpectMoments(std::size_t count, Value value, double mean, double deviation) {
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < count; ++i) {
    sum += value(i);
    squares += value(i) * value(i);
  }
  const double n = static_cast<double>(count), found = sum / n;
  EXPECT_NEAR(found, mean, 5 * deviation / std::sqrt(n));
  EXPECT_NEAR(std::sqrt(squares / n - found * found), deviation, 0.03 * deviation);
}

TEST(NormalWeights, HaveTheMeansAndDeviationsOfTheirKinds) {
  const auto codes = Written({{"w", Dtype::kF8E4M3, {300, 999}, {}}}, 1);
  ExpectMoments(
      codes.size(), [&](std::size_t i) { return E4m3ToFloat(codes[i]); }, 0, 112);
  const auto bf16 = [](const std::vector<std::uint8_t>& bytes) {
    return [&](std::size_t i) {
      return Bf16ToFloat(static_cast<std::uint16_t>(bytes[2 * i] | bytes[2 * i + 1] << 8));
    };
  };
  const auto matrix = Written({{"m", Dtype::kBF16, {200, 333}, {}}}, 1);
  ExpectMoments(66600, bf16(matrix), 0, 0.02);
  const auto vector = Written({{"v", Dtype::kBF16, {9999}, {}}}, 1);
  ExpectMoments(9999, bf16(vector), 0, 0.1);
  const auto scales = Written({{"w_scale_inv", Dtype::kBF16, {100, 99}, {}}}, 1);
  for (std::size_t i = 0; i < 9900; ++i) ASSERT_GT(bf16(scales)(i), 0);
}

TEST(NormalWeights, DependOnSeedNameAndIndexAlone) {
  const NewTensor a{"a", Dtype::kF8E4M3, {70000, 131}, {}}, b{"b", Dtype::kBF16, {3, 5}, {}};
  const auto both = Written({a, b}, 1), first = Written({a}, 1), second = Written({b}, 1);
  EXPECT_TRUE(std::equal(first.begin(), first.end(), both.begin()));
  EXPECT_TRUE(std::equal(second.begin(), second.end(), both.end() - 30));
  EXPECT_NE(Written({b}, 2), second);
  EXPECT_NE(Written({{"c", Dtype::kBF16, {3, 5}, {}}}, 1), second);
  SetNumThreads(1);
  EXPECT_EQ(Written({a, b}, 1), both);
}

TEST(NormalWeights, RefuseOtherDtypes) {
  EXPECT_THROW(Written({{"i", Dtype::kI32, {3}, {}}}, 1), Error);
}

}  // namespace
}  // namespace cacheready
