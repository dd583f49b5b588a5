// The inner loops, one table per instruction set, chosen at run time by CPUID. Equal bits on all of
// them: every output is ONE chain of fused multiply-adds in increasing k, whatever the vector
// width, the batch, or the threads. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace cacheready {

// Tokens are padded to a multiple of this in packed operands.
inline constexpr std::int64_t kTokenPad = 32;

struct Kernels {
  std::string_view name;  // "portable", "avx2", "avx512"
  // out[r * out_stride + t] = chain over c of w[r * w_stride + c] * xt[c * xt_stride + t], starting
  // from out (accumulate) or 0, for r < rows, t < tokens (a multiple of kTokenPad).
  void (*multiply_panel)(const float* w, std::int64_t w_stride, std::int64_t rows,
                         std::int64_t cols, const float* xt, std::int64_t xt_stride,
                         std::int64_t tokens, bool accumulate, float* out, std::int64_t out_stride);
};

std::span<const Kernels> AvailableKernels();  // those this CPU runs; portable first
const Kernels& ActiveKernels();  // the fastest; SetActiveKernels forces one (tests, --kernels)
void SetActiveKernels(std::string_view name);  // Fails if this CPU cannot run it

}  // namespace cacheready
