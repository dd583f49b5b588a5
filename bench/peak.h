// What this CPU's multiply units do at best: registers only, random operands (zeros draw less power
// and run faster than any real product).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace cacheready {

// Floating-point operations (two a multiply-add) that one call on one thread makes.
struct PeakLoop {
  std::string_view name;  // "avx512-fma", "avx2-fma", "amx-bf16", "amx-bf16-l2"
  double operations = 0;
  void (*run)() = nullptr;
};

// Of the widest vectors that the active kernels use; run == nullptr if there are none.
PeakLoop FmaPeak();
PeakLoop AmxPeak();  // likewise; requires AvailableKernels() to have been called
// The same with both operands of every step from the second cache, as a matrix product has them at
// best: loading a tile takes longer there than multiplying it.
PeakLoop AmxCachePeak();

}  // namespace cacheready
