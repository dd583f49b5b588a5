// SPDX-License-Identifier: Apache-2.0
#include "tensor/aligned.h"

#include <gtest/gtest.h>
#include <sanitizer/asan_interface.h>

#include <cstdint>
#include <cstring>

#include "base/memory.h"
#include "tensor/matrix.h"

namespace cacheready {
namespace {

#if defined(__SANITIZE_ADDRESS__)
#define CACHEREADY_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CACHEREADY_ASAN 1
#endif
#endif

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
#if defined(CACHEREADY_ASAN) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers keep freed memory in quarantine, or shadows of it";
#endif
  const std::uint64_t before = ResidentBytes();
  // Sizes that no earlier block serves: each must make room for itself.
  for (std::size_t size = 32 * kMiB; size <= 256 * kMiB; size *= 2) {
    void* block = AllocateLines(size);
    std::memset(block, 1, size);
    FreeLines(block, size);
  }
  EXPECT_LT(ResidentBytes(), before + (256 + 48) * kMiB);
}

TEST(AllocateLines, LeavesWaitingBlocksToAddressSanitizer) {
#ifdef CACHEREADY_ASAN
  auto* block = static_cast<char*>(AllocateLines(20 * kMiB));
  EXPECT_EQ(__asan_region_is_poisoned(block, 20 * kMiB), nullptr);
  FreeLines(block, 20 * kMiB);
  EXPECT_TRUE(__asan_address_is_poisoned(block));
  EXPECT_TRUE(__asan_address_is_poisoned(block + 20 * kMiB - 1));
  EXPECT_EQ(AllocateLines(20 * kMiB), block);
  EXPECT_EQ(__asan_region_is_poisoned(block, 20 * kMiB), nullptr);
  FreeLines(block, 20 * kMiB);
#else
  GTEST_SKIP() << "not built with AddressSanitizer";
#endif
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
