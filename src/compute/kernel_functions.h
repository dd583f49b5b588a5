// What each instruction-set file defines. Plain types only: these files are compiled with flags
// that the rest of the program must not see, so they must not emit inline library code.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace cacheready {

// Packed operands hold tokens in panels of kTokenPanel; a kernel computes multiples of kTokenPad.
inline constexpr std::int64_t kTokenPanel = 32;
inline constexpr std::int64_t kTokenPad = 16;
// Columns of bf16 operands that one AMX instruction multiplies: a step, of 16 pairs.
inline constexpr std::int64_t kStepColumns = 32;
inline constexpr std::int64_t kStepPairs = 16;
// Rows of bf16 weights come in multiples of this.
inline constexpr std::int64_t kRowPad = 16;

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
  // Of each row and each token, or both null.
  const float* row_scale = nullptr;
  const float* token_scale = nullptr;
  float* out = nullptr;
  std::int64_t out_stride = 0;
};

// Weights of bf16 products lie in tiles: kRowPad rows of one step, each of kStepPairs words.
inline constexpr std::int64_t kTileWords = kRowPad * kStepPairs;

// bf16 operands, two columns in a word (the even one in its low half), and the result of one panel
// product; see Kernels::multiply_bf16_amx. Columns are in `blocks` of `block_steps` steps each,
// every block a product of its own.
struct Bf16Product {
  const std::uint32_t* w = nullptr;   // [rows / kRowPad][blocks * block_steps][kTileWords]
  std::int64_t rows = 0;              // a multiple of kRowPad
  const std::uint32_t* xt = nullptr;  // [blocks * block_steps * kStepPairs][kTokenPanel]
  std::int64_t tokens = 0;            // kTokenPad or kTokenPanel
  std::int64_t blocks = 1;
  std::int64_t block_steps = 0;
  // Of each row and each token, one array a block, so many floats apart; or both null.
  const float* row_scales = nullptr;
  std::int64_t row_scales_stride = 0;
  const float* token_scales = nullptr;
  std::int64_t token_scales_stride = 0;
  float* out = nullptr;  // [rows][kTokenPanel]
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

#define CACHEREADY_DECLARE_KERNELS(isa)                                                   \
  namespace isa {                                                                         \
  void MultiplyPanel(const PanelProduct& p);                                              \
  void Transpose(const void* const* from, std::int64_t rows, std::int64_t cols, void* to, \
                 std::int64_t to_stride);                                                 \
  void MultiplyAdd(const float* a, const float* b, std::int64_t count, float* sum);       \
  void Exponentials(std::int64_t count, float* x);                                        \
  void Silu(std::int64_t count, float* x);                                                \
  void GatedDeltaStep(const DeltaStep& step);                                             \
  void RoundBf16(std::int64_t count, float* x);                                           \
  float QuantizeE4m3(const float* x, std::int64_t count, float* codes);                   \
  void NarrowBf16(const float* from, std::int64_t count, std::uint16_t* to);              \
  void MultiplyBf16Amx(const Bf16Product& p);                                             \
  void MultiplyBf16Avx512(const Bf16Product& p);                                          \
  }

CACHEREADY_DECLARE_KERNELS(portable)
CACHEREADY_DECLARE_KERNELS(avx2)
CACHEREADY_DECLARE_KERNELS(avx512)

// Those that an instruction computes.
namespace avx512bf16 {
void MultiplyBf16Avx512(const Bf16Product& p);
}
namespace amx {
void MultiplyBf16Amx(const Bf16Product& p);
}

}  // namespace cacheready
