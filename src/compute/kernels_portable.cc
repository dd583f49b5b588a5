// The kernels in plain C++: the meaning of the other two, and the fallback. fma() is exact on every
// machine, in software where it must be. SPDX-License-Identifier: Apache-2.0
#include "compute/kernel_functions.h"

namespace cacheready::portable {

#include "compute/kernel_loops.inc"

void Transpose(const void* const* from, std::int64_t rows, std::int64_t cols, void* to,
               std::int64_t to_stride) {
  TransposeEach(from, 0, rows, 0, cols, to, to_stride);
}

// One row's outputs for kTokenPad tokens.
static void MultiplyRow(const PanelProduct& p, std::int64_t r, std::int64_t token) {
  float* __restrict out = p.out + r * p.out_stride + token;
  float chain[kTokenPad] = {};
  for (std::int64_t t = 0; t < kTokenPad && p.accumulate; ++t) chain[t] = out[t];
  for (std::int64_t c = 0; c < p.cols; ++c) {
    const float weight = p.w[r * p.w_stride + c];
    const float* __restrict x = p.xt + c * p.xt_stride + token;
    for (std::int64_t t = 0; t < kTokenPad; ++t) chain[t] = __builtin_fmaf(weight, x[t], chain[t]);
  }
  for (std::int64_t t = 0; t < kTokenPad; ++t) {
    out[t] = p.row_scale == nullptr
                 ? chain[t]
                 : __builtin_fmaf(chain[t], p.row_scale[r] * p.token_scale[token + t], out[t]);
  }
}

void MultiplyPanel(const PanelProduct& p) {
  for (std::int64_t r = 0; r < p.rows; ++r) {
    for (std::int64_t t = 0; t < p.tokens; t += kTokenPad) MultiplyRow(p, r, t);
  }
}

}  // namespace cacheready::portable
