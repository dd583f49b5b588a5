// AVX2 + FMA: tiles of 6 rows x 16 tokens, 12 of the 16 registers.
// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "compute/kernel_functions.h"

namespace cacheready::avx2 {

#include "compute/kernel_loops.inc"
#include "compute/kernel_transpose.inc"

namespace {

constexpr std::int64_t kLanes = 8;
constexpr int kTileRows = 6;
// Steps over columns by which tokens are fetched before they are used: hardware stops fetching
// ahead at the end of each page, of 32 columns of a panel.
constexpr std::int64_t kStepsAhead = 64;

// Adds a tile of chains to the outputs, scaled.
template <int kRows, int kVectors>
inline void AddTile(const PanelProduct& p, std::int64_t row, std::int64_t token,
                    const __m256 (&sum)[kRows][kVectors]) {
  float* __restrict out = p.out + row * p.out_stride + token;
  for (int v = 0; v < kVectors; ++v) {
    const __m256 token_scale = _mm256_loadu_ps(p.token_scale + token + v * kLanes);
    for (int r = 0; r < kRows; ++r) {
      float* to = out + r * p.out_stride + v * kLanes;
      const __m256 scale = _mm256_mul_ps(_mm256_set1_ps(p.row_scale[row + r]), token_scale);
      _mm256_storeu_ps(to, _mm256_fmadd_ps(sum[r][v], scale, _mm256_loadu_ps(to)));
    }
  }
}

// kRows x (kVectors * 8) outputs held in registers over all columns. Each weight is broadcast to
// the lanes of its tokens: no lane ever sums over k, which is what keeps one chain per output.
template <int kRows, int kVectors>
void MultiplyTile(const PanelProduct& p, std::int64_t row, std::int64_t token) {
  const float* __restrict w = p.w + row * p.w_stride;
  const float* __restrict x = p.xt + token;
  float* __restrict out = p.out + row * p.out_stride + token;
  __m256 sum[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      sum[r][v] =
          p.accumulate ? _mm256_loadu_ps(out + r * p.out_stride + v * kLanes) : _mm256_setzero_ps();
    }
  }
  for (std::int64_t c = 0; c < p.cols; ++c) {
    __m256 tokens[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      tokens[v] = _mm256_loadu_ps(x + c * p.xt_stride + v * kLanes);
    }
    _mm_prefetch(x + (c + kStepsAhead) * p.xt_stride, _MM_HINT_T0);
    for (int r = 0; r < kRows; ++r) {
      const __m256 weight = _mm256_set1_ps(w[r * p.w_stride + c]);
      for (int v = 0; v < kVectors; ++v) {
        sum[r][v] = _mm256_fmadd_ps(weight, tokens[v], sum[r][v]);
      }
    }
  }
  if (p.row_scale != nullptr) return AddTile<kRows, kVectors>(p, row, token, sum);
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      _mm256_storeu_ps(out + r * p.out_stride + v * kLanes, sum[r][v]);
    }
  }
}

using TileFunction = void (*)(const PanelProduct&, std::int64_t row, std::int64_t token);

// The tile for 1 ... kTileRows rows: entry [rows - 1].
template <int kVectors>
constexpr TileFunction kTiles[kTileRows] = {
    MultiplyTile<1, kVectors>, MultiplyTile<2, kVectors>, MultiplyTile<3, kVectors>,
    MultiplyTile<4, kVectors>, MultiplyTile<5, kVectors>, MultiplyTile<6, kVectors>,
};

template <int kVectors>
void MultiplyColumn(const PanelProduct& p, std::int64_t token) {
  for (std::int64_t row = 0; row < p.rows; row += kTileRows) {
    const std::int64_t rows = p.rows - row < kTileRows ? p.rows - row : kTileRows;
    kTiles<kVectors>[rows - 1](p, row, token);
  }
}

}  // namespace

void MultiplyPanel(const PanelProduct& p) {
  std::int64_t token = 0;
  for (; token + 2 * kLanes <= p.tokens; token += 2 * kLanes) MultiplyColumn<2>(p, token);
  for (; token < p.tokens; token += kLanes) MultiplyColumn<1>(p, token);
}

}  // namespace cacheready::avx2
