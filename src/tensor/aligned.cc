// SPDX-License-Identifier: Apache-2.0
#include "tensor/aligned.h"

#include <sys/mman.h>

namespace cacheready {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
// Below, what would be wasted of the last page is too much.
constexpr std::size_t kHugeFrom = 4 * kHugePage;
constexpr std::align_val_t kLine{64};

std::align_val_t AlignmentOf(std::size_t bytes) {
  return bytes >= kHugeFrom ? std::align_val_t{kHugePage} : kLine;
}

}  // namespace

void* AllocateLines(std::size_t bytes) {
  void* memory = ::operator new(bytes, AlignmentOf(bytes));
#ifdef MADV_HUGEPAGE
  // A wish: where it is not granted, pages are small.
  if (bytes >= kHugeFrom) (void)madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return memory;
}

void FreeLines(void* memory, std::size_t bytes) { ::operator delete(memory, AlignmentOf(bytes)); }

}  // namespace cacheready
