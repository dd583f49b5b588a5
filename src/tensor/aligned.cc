// SPDX-License-Identifier: Apache-2.0
#include "tensor/aligned.h"

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <unordered_map>

namespace cacheready {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
// Below, what would be wasted of the last page is too much.
constexpr std::size_t kLargeFrom = 4 * kHugePage;
constexpr std::align_val_t kLine{64}, kPage{kHugePage};

// Blocks that are freed wait here for their like: having the kernel clear the activations of every
// layer anew costs as much as a fifth of the products. Blocks in use and waiting are together never
// more than there once were in use alone, so that waiting adds nothing to a run's most memory.
class LargeBlocks {
 public:
  void* Take(std::size_t bytes) {
    const std::size_t size = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    const std::lock_guard lock(mutex_);
    Block block = TakeWaiting(size);
    if (block.memory == nullptr) {
      const std::size_t most = std::max(most_, used_ + size);
      while (!waiting_.empty() && used_ + waiting_bytes_ + size > most) FreeOldest();
      block = {Make(size), size};
    }
    ASAN_UNPOISON_MEMORY_REGION(block.memory, block.size);
    used_ += block.size;
    most_ = std::max(most_, used_);
    sizes_.emplace(block.memory, block.size);
    return block.memory;
  }

  void Give(void* memory) {
    const std::lock_guard lock(mutex_);
    const auto found = sizes_.find(memory);
    used_ -= found->second;
    waiting_bytes_ += found->second;
    ASAN_POISON_MEMORY_REGION(memory, found->second);  // a use after Give is still an error
    waiting_.push_back({memory, found->second});
    sizes_.erase(found);
  }

 private:
  struct Block {
    void* memory = nullptr;
    std::size_t size = 0;
  };

  // The smallest that is large enough, and not much larger.
  Block TakeWaiting(std::size_t size) {
    auto best = waiting_.end();
    for (auto block = waiting_.begin(); block != waiting_.end(); ++block) {
      const bool fits = block->size >= size && block->size <= size + size / 8;
      if (fits && (best == waiting_.end() || block->size < best->size)) best = block;
    }
    if (best == waiting_.end()) return {};
    const Block taken = *best;
    waiting_.erase(best);
    waiting_bytes_ -= taken.size;
    return taken;
  }

  void FreeOldest() {
    const Block oldest = waiting_.front();
    waiting_bytes_ -= oldest.size;
    ASAN_UNPOISON_MEMORY_REGION(oldest.memory, oldest.size);
    ::operator delete(oldest.memory, kPage);
    waiting_.erase(waiting_.begin());
  }

  static void* Make(std::size_t size) {
    void* memory = ::operator new(size, kPage);
#ifdef MADV_HUGEPAGE
    (void)madvise(memory, size, MADV_HUGEPAGE);  // a wish: where it is not granted, pages are small
#endif
    return memory;
  }

  std::mutex mutex_;
  std::vector<Block> waiting_;                    // oldest first
  std::unordered_map<void*, std::size_t> sizes_;  // of those in use
  std::size_t used_ = 0, waiting_bytes_ = 0, most_ = 0;
};

LargeBlocks& TheLargeBlocks() {
  static auto* blocks = new LargeBlocks;  // outlives every matrix
  return *blocks;
}

}  // namespace

void* AllocateLines(std::size_t bytes) {
  return bytes >= kLargeFrom ? TheLargeBlocks().Take(bytes) : ::operator new(bytes, kLine);
}

void FreeLines(void* memory, std::size_t bytes) {
  if (bytes >= kLargeFrom) return TheLargeBlocks().Give(memory);
  ::operator delete(memory, kLine);
}

}  // namespace cacheready
