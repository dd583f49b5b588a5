// SPDX-License-Identifier: Apache-2.0
#include "tensor/aligned.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>

#include "base/memory.h"
#include "tensor/matrix.h"

namespace cacheready {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

TEST(AllocateLines, BeginsOnALineAndUsesLargeBlocksAgain) {
  void* first = AllocateLines(16 * kMiB);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % 64, 0u);
  void* second = AllocateLines(16 * kMiB);
  EXPECT_NE(first, second);
  FreeLines(first, 16 * kMiB);
  void* again = AllocateLines(15 * kMiB);
  EXPECT_EQ(again, first);
  FreeLines(second, 16 * kMiB);
  FreeLines(again, 15 * kMiB);
  void* small = AllocateLines(100);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(small) % 64, 0u);
  FreeLines(small, 100);
}

TEST(AllocateLines, KeepsNoMoreThanWasOnceInUse) {
  const std::uint64_t before = ResidentBytes();
  // Sizes that no earlier block serves: each must make room for itself.
  for (std::size_t size = 32 * kMiB; size <= 256 * kMiB; size *= 2) {
    void* block = AllocateLines(size);
    std::memset(block, 1, size);
    FreeLines(block, size);
  }
  EXPECT_LT(ResidentBytes(), before + (256 + 48) * kMiB);
}

TEST(Matrix, IsZeroUnlessAskedNotToBe) {
  {
    Matrix used = Matrix::Uninitialized(2048, 2048);
    std::memset(used.values().data(), 1, 100);
  }
  const Matrix zeros(2048, 2048);
  for (const float value : zeros.values()) ASSERT_EQ(value, 0.0f);
}

}  // namespace
}  // namespace cacheready
