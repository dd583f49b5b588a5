// AVX512_BF16: VDPBF16PS, tiles of 8 rows x 32 tokens. Twice the speed of fp32 on AMD's cores, half
// of it on Intel's.
// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "compute/kernel_functions.h"

namespace cacheready::avx512bf16 {
namespace {

constexpr std::int64_t kLanes = 16;
constexpr int kTileRows = 8;  // divides kRowPad
constexpr std::int64_t kPairsAhead = 64;

__m512bh AsBf16(__m512i words) { return (__m512bh)words; }

template <int kVectors>
void MultiplyTile(const std::uint32_t* w, std::int64_t w_stride, const std::uint32_t* x,
                  std::int64_t pairs, float* out) {
  __m512 sum[kTileRows][kVectors];
  for (int r = 0; r < kTileRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sum[r][v] = _mm512_setzero_ps();
  }
  for (std::int64_t i = 0; i < pairs; ++i) {
    __m512i tokens[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      tokens[v] = _mm512_loadu_si512(x + i * kTokenPanel + v * kLanes);
      if constexpr (kVectors > 1) {  // as for fp32
        _mm_prefetch(x + (i + kPairsAhead) * kTokenPanel + v * kLanes, _MM_HINT_T0);
      }
    }
    for (int r = 0; r < kTileRows; ++r) {
      const __m512i weight = _mm512_set1_epi32(static_cast<int>(w[r * w_stride + i]));
      for (int v = 0; v < kVectors; ++v) {
        sum[r][v] = _mm512_dpbf16_ps(sum[r][v], AsBf16(weight), AsBf16(tokens[v]));
      }
    }
  }
  for (int r = 0; r < kTileRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      _mm512_storeu_ps(out + r * kTokenPanel + v * kLanes, sum[r][v]);
    }
  }
}

}  // namespace

void MultiplyBf16Avx512(const Bf16Product& p) {
  const std::int64_t pairs = p.block_steps * kStepPairs;
  for (std::int64_t b = 0; b < p.blocks; ++b) {
    const std::uint32_t* x = p.xt + b * pairs * kTokenPanel;
    for (std::int64_t r = 0; r < p.rows; r += kTileRows) {
      const std::uint32_t* w = p.w + r * p.w_stride + b * pairs;
      float* out = p.out + b * p.out_block_stride + r * kTokenPanel;
      if (p.tokens == kTokenPanel) {
        MultiplyTile<2>(w, p.w_stride, x, pairs, out);
      } else {
        MultiplyTile<1>(w, p.w_stride, x, pairs, out);
      }
    }
  }
}

}  // namespace cacheready::avx512bf16
