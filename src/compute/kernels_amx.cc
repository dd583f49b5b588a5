// AMX: TDPBF16PS, 2 x 2 tiles of 16 rows x 16 tokens. Weight rows are the first operand as they
// lie; tokens are packed in pairs of columns, as the second operand wants them.
//
// The instructions are written out, each with a memory clobber: the intrinsics of some compilers do
// not say which memory tile loads and the tile configuration read, so that stores before them are
// dropped or moved. No tile register is ever live across a call, and none is known to the compiler.
// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "compute/kernel_functions.h"

namespace cacheready::amx {
namespace {

constexpr std::int64_t kTile = 16;
// Columns that pass over all rows before the next: 8 steps of a panel (16 KiB) stay in the first
// cache. Sums go through `out` from one run to the next, unchanged.
constexpr std::int64_t kRunSteps = 8;

// As LDTILECFG reads it.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

#define TILE_ZERO(tile) asm volatile("tilezero %%tmm" #tile ::: "memory")
#define TILE_LOAD(tile, from, stride) \
  asm volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(from), "r"(stride) : "memory")
#define TILE_STORE(tile, to, stride) \
  asm volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(to), "r"(stride) : "memory")
#define TILE_MULTIPLY(sum, a, b) \
  asm volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum ::: "memory")

void LoadConfig() {
  const TileConfig config;
  asm volatile("ldtilecfg (%0)" ::"r"(&config) : "memory");
}
void ReleaseTiles() { asm volatile("tilerelease" ::: "memory"); }

// One step onto tiles 0 ... 3, the sums (row, token tile); 4 and 5 hold rows, 6 and 7 tokens.
template <bool kTwoRows, bool kTwoTokens>
inline void MultiplyStep(const std::uint32_t* upper, const std::uint32_t* lower,
                         const std::uint32_t* tokens) {
  constexpr std::int64_t kRowBytes = kStepPairs * 4, kPanelBytes = kTokenPanel * 4;
  TILE_LOAD(4, upper, kRowBytes);
  TILE_LOAD(6, tokens, kPanelBytes);
  TILE_MULTIPLY(0, 4, 6);
  if constexpr (kTwoTokens) {
    TILE_LOAD(7, tokens + kTile, kPanelBytes);
    TILE_MULTIPLY(1, 4, 7);
  }
  if constexpr (kTwoRows) {
    TILE_LOAD(5, lower, kRowBytes);
    TILE_MULTIPLY(2, 5, 6);
  }
  if constexpr (kTwoRows && kTwoTokens) TILE_MULTIPLY(3, 5, 7);
}

template <bool kTwoRows, bool kTwoTokens>
void LoadSums(const float* sums) {
  constexpr std::int64_t kBytes = kTokenPanel * 4;
  const float* lower = sums + kTile * kTokenPanel;
  TILE_LOAD(0, sums, kBytes);
  if constexpr (kTwoTokens) TILE_LOAD(1, sums + kTile, kBytes);
  if constexpr (kTwoRows) TILE_LOAD(2, lower, kBytes);
  if constexpr (kTwoRows && kTwoTokens) TILE_LOAD(3, lower + kTile, kBytes);
}

template <bool kTwoRows, bool kTwoTokens>
void StoreSums(float* sums) {
  constexpr std::int64_t kBytes = kTokenPanel * 4;
  float* lower = sums + kTile * kTokenPanel;
  TILE_STORE(0, sums, kBytes);
  if constexpr (kTwoTokens) TILE_STORE(1, sums + kTile, kBytes);
  if constexpr (kTwoRows) TILE_STORE(2, lower, kBytes);
  if constexpr (kTwoRows && kTwoTokens) TILE_STORE(3, lower + kTile, kBytes);
}

inline void ZeroSums() {
  TILE_ZERO(0);
  TILE_ZERO(1);
  TILE_ZERO(2);
  TILE_ZERO(3);
}

// The first of two row tiles in the first step of a block.
inline const std::uint32_t* TileOf(const Bf16Product& p, std::int64_t row, std::int64_t block) {
  return p.w + (row / kTile * p.blocks + block) * p.block_steps * kTileWords;
}

// Without scales: one block, whose sums go through `out` from one run of steps to the next.
template <bool kTwoRows, bool kTwoTokens>
void MultiplyRun(const Bf16Product& p, std::int64_t row, std::int64_t begin, std::int64_t end) {
  const std::uint32_t* upper = TileOf(p, row, 0);
  const std::uint32_t* lower = upper + p.block_steps * kTileWords;
  float* out = p.out + row * kTokenPanel;
  if (begin > 0) {
    LoadSums<kTwoRows, kTwoTokens>(out);
  } else {
    ZeroSums();
  }
  for (std::int64_t step = begin; step < end; ++step) {
    MultiplyStep<kTwoRows, kTwoTokens>(upper + step * kTileWords, lower + step * kTileWords,
                                       p.xt + step * kStepPairs * kTokenPanel);
  }
  StoreSums<kTwoRows, kTwoTokens>(out);
}

template <bool kTwoTokens>
void MultiplyUnscaled(const Bf16Product& p) {
  for (std::int64_t step = 0; step < p.block_steps; step += kRunSteps) {
    const std::int64_t end = step + kRunSteps < p.block_steps ? step + kRunSteps : p.block_steps;
    std::int64_t r = 0;
    for (; r + 2 * kTile <= p.rows; r += 2 * kTile) MultiplyRun<true, kTwoTokens>(p, r, step, end);
    if (r < p.rows) MultiplyRun<false, kTwoTokens>(p, r, step, end);
  }
}

// Sums of a block that wait to be scaled onto the outputs.
struct WaitingSums {
  std::int64_t rows = 0;
  const float* sums = nullptr;
  const float* row_scales = nullptr;
  const float* token_scales = nullptr;
  float* out = nullptr;
};

template <bool kTwoTokens>
inline void AddRows(const WaitingSums& waiting, std::int64_t begin, std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const __m512 row_scale = _mm512_set1_ps(waiting.row_scales[r]);
    for (std::int64_t t = 0; t < (kTwoTokens ? 2 : 1) * kTile; t += kTile) {
      float* to = waiting.out + r * kTokenPanel + t;
      const __m512 scale = _mm512_mul_ps(row_scale, _mm512_loadu_ps(waiting.token_scales + t));
      const __m512 sum = _mm512_loadu_ps(waiting.sums + r * kTokenPanel + t);
      _mm512_storeu_ps(to, _mm512_fmadd_ps(sum, scale, _mm512_loadu_ps(to)));
    }
  }
}

// One block of a row pair into `sums`; meanwhile the sums before it are scaled, some rows a step:
// the vector units are free while the tiles multiply.
template <bool kTwoRows, bool kTwoTokens>
void MultiplyBlock(const Bf16Product& p, std::int64_t row, std::int64_t block,
                   const WaitingSums& waiting, float* sums) {
  const std::uint32_t* upper = TileOf(p, row, block);
  const std::uint32_t* lower = upper + p.blocks * p.block_steps * kTileWords;
  const std::uint32_t* tokens = p.xt + block * p.block_steps * kStepPairs * kTokenPanel;
  const std::int64_t each = (waiting.rows + p.block_steps - 1) / p.block_steps;
  ZeroSums();
  for (std::int64_t step = 0, added = 0; step < p.block_steps; ++step) {
    MultiplyStep<kTwoRows, kTwoTokens>(upper + step * kTileWords, lower + step * kTileWords,
                                       tokens + step * kStepPairs * kTokenPanel);
    const std::int64_t until = added + each < waiting.rows ? added + each : waiting.rows;
    AddRows<kTwoTokens>(waiting, added, until);
    added = until;
  }
  StoreSums<kTwoRows, kTwoTokens>(sums);
}

template <bool kTwoTokens>
void MultiplyScaled(const Bf16Product& p) {
  alignas(64) float sums[2][2 * kTile * kTokenPanel];
  int at = 0;
  WaitingSums waiting;
  for (std::int64_t b = 0; b < p.blocks; ++b) {
    for (std::int64_t r = 0; r < p.rows; r += 2 * kTile) {
      const bool two_rows = r + 2 * kTile <= p.rows;
      if (two_rows) {
        MultiplyBlock<true, kTwoTokens>(p, r, b, waiting, sums[at]);
      } else {
        MultiplyBlock<false, kTwoTokens>(p, r, b, waiting, sums[at]);
      }
      waiting = {two_rows ? 2 * kTile : kTile, sums[at], p.row_scales + b * p.row_scales_stride + r,
                 p.token_scales + b * p.token_scales_stride, p.out + r * kTokenPanel};
      at = 1 - at;
    }
  }
  AddRows<kTwoTokens>(waiting, 0, waiting.rows);
}

}  // namespace

void MultiplyBf16Amx(const Bf16Product& p) {
  LoadConfig();
  const bool two_tokens = p.tokens == kTokenPanel;
  if (p.row_scales == nullptr) {
    two_tokens ? MultiplyUnscaled<true>(p) : MultiplyUnscaled<false>(p);
  } else {
    two_tokens ? MultiplyScaled<true>(p) : MultiplyScaled<false>(p);
  }
  ReleaseTiles();
}

}  // namespace cacheready::amx
