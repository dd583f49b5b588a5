// AMX: TDPBF16PS, 2 x 2 tiles of 16 rows x 16 tokens. Weight rows are the first operand as they
// lie; tokens are packed in pairs of columns, as the second operand wants them.
//
// The instructions are written out, each with a memory clobber: the intrinsics of some compilers do
// not say which memory tile loads and the tile configuration read, so that stores before them are
// dropped or moved. No tile register is ever live across a call, and none is known to the compiler.
// SPDX-License-Identifier: Apache-2.0
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

// Tiles 0 ... 3 sum (row, token tile); 4 and 5 hold rows, 6 and 7 tokens.
template <bool kTwoRows, bool kTwoTokens>
void MultiplyTiles(const std::uint32_t* w, std::int64_t w_stride, const std::uint32_t* x,
                   std::int64_t steps, bool go_on, float* out) {
  const std::int64_t w_bytes = w_stride * 4, panel_bytes = kTokenPanel * 4;
  const std::uint32_t* lower = w + kTile * w_stride;
  float* lower_out = out + kTile * kTokenPanel;
  if (go_on) {
    TILE_LOAD(0, out, panel_bytes);
    if constexpr (kTwoTokens) TILE_LOAD(1, out + kTile, panel_bytes);
    if constexpr (kTwoRows) TILE_LOAD(2, lower_out, panel_bytes);
    if constexpr (kTwoRows && kTwoTokens) TILE_LOAD(3, lower_out + kTile, panel_bytes);
  } else {
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
  }
  for (std::int64_t step = 0; step < steps; ++step) {
    const std::uint32_t* tokens = x + step * kStepPairs * kTokenPanel;
    TILE_LOAD(4, w + step * kStepPairs, w_bytes);
    TILE_LOAD(6, tokens, panel_bytes);
    TILE_MULTIPLY(0, 4, 6);
    if constexpr (kTwoTokens) {
      TILE_LOAD(7, tokens + kTile, panel_bytes);
      TILE_MULTIPLY(1, 4, 7);
    }
    if constexpr (kTwoRows) {
      TILE_LOAD(5, lower + step * kStepPairs, w_bytes);
      TILE_MULTIPLY(2, 5, 6);
    }
    if constexpr (kTwoRows && kTwoTokens) TILE_MULTIPLY(3, 5, 7);
  }
  TILE_STORE(0, out, panel_bytes);
  if constexpr (kTwoTokens) TILE_STORE(1, out + kTile, panel_bytes);
  if constexpr (kTwoRows) TILE_STORE(2, lower_out, panel_bytes);
  if constexpr (kTwoRows && kTwoTokens) TILE_STORE(3, lower_out + kTile, panel_bytes);
}

template <bool kTwoTokens>
void MultiplyBlock(const Bf16Product& p, const std::uint32_t* w, const std::uint32_t* x,
                   float* out) {
  for (std::int64_t step = 0; step < p.block_steps; step += kRunSteps) {
    const std::int64_t left = p.block_steps - step;
    const std::int64_t steps = left < kRunSteps ? left : kRunSteps;
    const std::uint32_t* columns = w + step * kStepPairs;
    const std::uint32_t* tokens = x + step * kStepPairs * kTokenPanel;
    std::int64_t r = 0;
    for (; r + 2 * kTile <= p.rows; r += 2 * kTile) {
      MultiplyTiles<true, kTwoTokens>(columns + r * p.w_stride, p.w_stride, tokens, steps, step > 0,
                                      out + r * kTokenPanel);
    }
    if (r < p.rows) {
      MultiplyTiles<false, kTwoTokens>(columns + r * p.w_stride, p.w_stride, tokens, steps,
                                       step > 0, out + r * kTokenPanel);
    }
  }
}

}  // namespace

void MultiplyBf16Amx(const Bf16Product& p) {
  LoadConfig();
  const std::int64_t words = p.block_steps * kStepPairs;
  for (std::int64_t b = 0; b < p.blocks; ++b) {
    const std::uint32_t* w = p.w + b * words;
    const std::uint32_t* x = p.xt + b * words * kTokenPanel;
    float* out = p.out + b * p.out_block_stride;
    if (p.tokens == kTokenPanel) {
      MultiplyBlock<true>(p, w, x, out);
    } else {
      MultiplyBlock<false>(p, w, x, out);
    }
  }
  ReleaseTiles();
}

}  // namespace cacheready::amx
