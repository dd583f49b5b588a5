// For tests: random matrices, and whether two have the same bits.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <span>

#include "base/parallel.h"
#include "base/random.h"
#include "compute/kernels.h"
#include "tensor/matrix.h"

namespace cacheready {

inline Matrix Normals(std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
  Matrix values(rows, cols);
  for (std::size_t i = 0; i < values.values().size(); ++i) {
    values.values()[i] = static_cast<float>(NormalAt(seed, i));
  }
  return values;
}

inline bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}
inline bool SameBits(const Matrix& a, const Matrix& b) { return SameBits(a.values(), b.values()); }

// Sets threads and kernels back to what they were, whatever a test ends by.
struct RestoreKernels {
  int threads = NumThreads();
  std::string_view kernels = ActiveKernels().name;
  ~RestoreKernels() {
    SetNumThreads(threads);
    SetActiveKernels(kernels);
  }
};

}  // namespace cacheready
