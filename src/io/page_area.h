// Memory that ranges of files are read into, kept from one read to the next: in a virtual machine
// the first touch of a page costs as much as reading it from a fast disk.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <mutex>
#include <vector>

namespace cacheready {

inline constexpr std::size_t kHugePage = std::size_t{2} << 20;

// Private memory in whole pages, made of huge pages where the kernel can.
class PageArea {
 public:
  // Lies as `place` does within huge pages, so that none is split when it is moved there. Fails if
  // the system refuses.
  PageArea(std::size_t size, const void* place);
  // Takes over what MoveTo put at `place`, which nobody may read now; what was there shows zeros.
  // False, and nothing happened, if it is no longer one piece.
  static bool TakeBack(std::byte* place, std::size_t size, std::vector<PageArea>& areas);
  ~PageArea();
  PageArea(PageArea&& other) noexcept;
  PageArea& operator=(PageArea&& other) noexcept;

  std::byte* address() const { return address_; }
  std::size_t size() const { return size_; }
  // The first `size` bytes stay here, the others are returned.
  PageArea SplitAt(std::size_t size);
  // Becomes the memory at `place`, read-only, in one step: another thread sees what was there
  // before or this. False, with errno, if the system refuses.
  bool MoveTo(std::byte* place);

 private:
  PageArea() = default;
  std::byte* address_ = nullptr;
  std::size_t size_ = 0;
};

// Areas that are not in use. Thread-safe.
class SparePages {
 public:
  // An area of at most `size` bytes: a spare one if there is any, else a new one of all `size`.
  PageArea Take(std::size_t size, const void* place);
  void Keep(PageArea area);
  void Clear();
  std::size_t bytes() const;

 private:
  mutable std::mutex mutex_;
  std::vector<PageArea> areas_;
};

}  // namespace cacheready
