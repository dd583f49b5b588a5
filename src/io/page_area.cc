// SPDX-License-Identifier: Apache-2.0
#include "io/page_area.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace cacheready {
namespace {

constexpr std::size_t kLeastSpare = kHugePage;  // less is not worth a mapping of its own

// Addresses for `size` bytes that lie as `place` does within huge pages.
std::byte* Reserve(std::size_t size, const void* place) {
  const std::size_t reserved = size + kHugePage;
  void* base = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) {
    Fail("{} bytes of memory to read weights into are refused: {}", reserved, std::strerror(errno));
  }
  const auto start = reinterpret_cast<std::uintptr_t>(base);
  const std::size_t before = (reinterpret_cast<std::uintptr_t>(place) - start) % kHugePage;
  auto* address = static_cast<std::byte*>(base) + before;
  if (before > 0) munmap(base, before);
  munmap(address + size, reserved - before - size);
  return address;
}

}  // namespace

PageArea::PageArea(std::size_t size, const void* place)
    : address_(Reserve(size, place)), size_(size) {
  madvise(address_, size_, MADV_HUGEPAGE);  // only a hint
}

bool PageArea::TakeBack(std::byte* place, std::size_t size, std::vector<PageArea>& areas) {
  PageArea area;
  area.address_ = Reserve(size, place);
  area.size_ = size;
  // The addresses stay taken meanwhile: no other thread's memory may come to lie there.
  const void* moved =
      mremap(place, size, size, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, area.address_);
  if (moved == MAP_FAILED) return false;
  mprotect(area.address_, size, PROT_READ | PROT_WRITE);
  areas.push_back(std::move(area));
  return true;
}

PageArea::~PageArea() {
  if (address_ != nullptr) munmap(address_, size_);
}

PageArea::PageArea(PageArea&& other) noexcept
    : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)) {}

PageArea& PageArea::operator=(PageArea&& other) noexcept {
  std::swap(address_, other.address_);
  std::swap(size_, other.size_);
  return *this;
}

PageArea PageArea::SplitAt(std::size_t size) {
  CR_CHECK(size <= size_, "{} of {} bytes", size, size_);
  PageArea rest;
  if (size == size_) return rest;
  rest.address_ = address_ + size;
  rest.size_ = std::exchange(size_, size) - size;
  return rest;
}

bool PageArea::MoveTo(std::byte* place) {
  mprotect(address_, size_, PROT_READ);
  if (mremap(address_, size_, size_, MREMAP_MAYMOVE | MREMAP_FIXED, place) == MAP_FAILED) {
    return false;
  }
  address_ = nullptr;
  return true;
}

PageArea SparePages::Take(std::size_t size, const void* place) {
  const std::lock_guard lock(mutex_);
  if (areas_.empty()) return {size, place};
  PageArea area = std::move(areas_.back());
  areas_.pop_back();
  if (area.size() > size) {
    PageArea rest = area.SplitAt(size);
    if (rest.size() >= kLeastSpare) areas_.push_back(std::move(rest));
  }
  return area;
}

void SparePages::Keep(PageArea area) {
  const std::lock_guard lock(mutex_);
  if (area.size() >= kLeastSpare) areas_.push_back(std::move(area));
}

void SparePages::Clear() {
  const std::lock_guard lock(mutex_);
  areas_.clear();
}

std::size_t SparePages::bytes() const {
  const std::lock_guard lock(mutex_);
  std::size_t bytes = 0;
  for (const PageArea& area : areas_) bytes += area.size();
  return bytes;
}

}  // namespace cacheready
