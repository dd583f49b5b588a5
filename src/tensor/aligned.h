// Vectors that begin on a cache line, so that no load of a vector register straddles two, and
// vectors whose elements are not set when they are made.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace cacheready {

// Memory that begins on a cache line, on large pages where it is large enough.
void* AllocateLines(std::size_t bytes);
void FreeLines(void* memory, std::size_t bytes);

template <typename T>
struct LineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kLine{64};

  LineAllocator() = default;
  template <typename U>
  LineAllocator(const LineAllocator<U>&) {}  // NOLINT: allocators convert

  T* allocate(std::size_t count) {
    return static_cast<T*>(::operator new(count * sizeof(T), kLine));
  }
  void deallocate(T* values, std::size_t) { ::operator delete(values, kLine); }
  bool operator==(const LineAllocator&) const { return true; }
};

// Elements without a value are left as the memory is. Large vectors ask for large pages: making
// 2 MiB of small ones costs as much as filling them ten times.
template <typename T>
struct UnsetAllocator {
  using value_type = T;
  static_assert(std::is_trivial_v<T>);

  UnsetAllocator() = default;
  template <typename U>
  UnsetAllocator(const UnsetAllocator<U>&) {}  // NOLINT: allocators convert

  T* allocate(std::size_t count) { return static_cast<T*>(AllocateLines(count * sizeof(T))); }
  void deallocate(T* values, std::size_t count) { FreeLines(values, count * sizeof(T)); }
  template <typename U>
  void construct(U* at) noexcept {
    ::new (static_cast<void*>(at)) U;
  }
  template <typename U, typename... Arguments>
  void construct(U* at, Arguments&&... arguments) {
    ::new (static_cast<void*>(at)) U(std::forward<Arguments>(arguments)...);
  }
  bool operator==(const UnsetAllocator&) const { return true; }
};

template <typename T>
using AlignedVector = std::vector<T, LineAllocator<T>>;
template <typename T>
using UnsetVector = std::vector<T, UnsetAllocator<T>>;

}  // namespace cacheready
