// What each instruction-set file defines. Plain types only: these files are compiled with flags
// that the rest of the program must not see, so they must not emit inline library code.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace cacheready {

// Rows x columns operands and the result of one panel product; see Kernels::multiply_panel.
struct PanelProduct {
  const float* w = nullptr;
  std::int64_t w_stride = 0;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  const float* xt = nullptr;
  std::int64_t xt_stride = 0;
  std::int64_t tokens = 0;
  bool accumulate = false;
  float* out = nullptr;
  std::int64_t out_stride = 0;
};

// State and operands of one token of the gated delta rule; see Kernels::delta_step.
struct DeltaStep {
  float* state = nullptr;  // [key_dim, value_dim]
  std::int64_t key_dim = 0;
  std::int64_t value_dim = 0;
  float decay = 1;
  float beta = 1;
  const float* q = nullptr;  // [key_dim]
  const float* k = nullptr;  // [key_dim]
  const float* v = nullptr;  // [value_dim]
  float* delta = nullptr;    // [value_dim], scratch
  float* out = nullptr;      // [value_dim]
};

#define CACHEREADY_DECLARE_KERNELS(isa)                                                  \
  namespace isa {                                                                        \
  void MultiplyPanel(const PanelProduct& p);                                             \
  void AddScaled(const float* partial, const float* row_scale, const float* token_scale, \
                 std::int64_t rows, std::int64_t tokens, float* sum);                    \
  void MultiplyAdd(const float* a, const float* b, std::int64_t count, float* sum);      \
  void Exponentials(std::int64_t count, float* x);                                       \
  void Silu(std::int64_t count, float* x);                                               \
  void GatedDeltaStep(const DeltaStep& step);                                            \
  }

CACHEREADY_DECLARE_KERNELS(portable)
CACHEREADY_DECLARE_KERNELS(avx2)
CACHEREADY_DECLARE_KERNELS(avx512)

}  // namespace cacheready
