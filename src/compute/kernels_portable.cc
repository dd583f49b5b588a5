// The kernels in plain C++: the meaning of the other two, and the fallback. fma() is exact on every
// machine, in software where it must be. SPDX-License-Identifier: Apache-2.0
#include "compute/kernel_functions.h"

namespace cacheready::portable {

#include "compute/kernel_loops.inc"

void MultiplyPanel(const PanelProduct& p) {
  for (std::int64_t r = 0; r < p.rows; ++r) {
    float* __restrict out = p.out + r * p.out_stride;
    if (!p.accumulate) {
      for (std::int64_t t = 0; t < p.tokens; ++t) out[t] = 0;
    }
    for (std::int64_t c = 0; c < p.cols; ++c) {
      const float weight = p.w[r * p.w_stride + c];
      const float* __restrict x = p.xt + c * p.xt_stride;
      for (std::int64_t t = 0; t < p.tokens; ++t) out[t] = __builtin_fmaf(weight, x[t], out[t]);
    }
  }
}

}  // namespace cacheready::portable
