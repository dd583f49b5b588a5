// SPDX-License-Identifier: Apache-2.0
#include "compute/matmul.h"

#include <algorithm>

#include "base/error.h"
#include "compute/strips.h"

namespace cacheready {
namespace {

// Columns multiplied before the next ones: a panel's part (64 KiB) and a strip's part stay in the
// second cache. Going on with `accumulate` continues the same chain.
constexpr std::int64_t kColumnBlock = 512;

// Rows decoded at a time, a multiple of the tile heights (6, 12): 640 KiB of floats, or twice as
// many where there are tokens enough that passing all of them by a strip costs more than decoding
// it beyond the second cache.
StripShape StripOf(const EncodedMatrix& w, std::int64_t column_block, std::int64_t tokens) {
  constexpr std::int64_t kTile = 12;
  const std::int64_t cols = w.cols(), floats = tokens < 256 ? 160 << 10 : 320 << 10;
  const std::int64_t fit = floats / std::max<std::int64_t>(cols, 1) / kTile * kTile;
  const std::int64_t most = std::clamp<std::int64_t>(fit, 2 * kTile, kMaxStripRows);
  return {RowsOfStrips(w.rows(), most, kTile), cols,
          std::max<std::int64_t>((cols + column_block - 1) / column_block, 1)};
}

void CheckColumns(const EncodedMatrix& w, const PackedTokens& x) {
  CR_CHECK(w.cols() == x.cols(), "weight has {} columns, tokens {}", w.cols(), x.cols());
}

}  // namespace

Matrix MatMul(const EncodedMatrix& w, const PackedTokens& x, const MatMulOptions& options) {
  CheckColumns(w, x);
  const Kernels& kernels = ActiveKernels();
  const std::int64_t cols = w.cols();
  const bool are_bf16 = w.format() == "bf16" && !options.dither_seed;
  const bool rounds = options.reading == WeightReading::kRoundedBf16 && !are_bf16;
  const auto decode = [&](std::int64_t begin, std::int64_t rows, float* strip) {
    if (options.dither_seed) {
      w.DecodeRowsDithered(begin, rows, *options.dither_seed, strip);
    } else {
      w.DecodeRows(begin, rows, strip);
    }
    if (rounds) kernels.round_bf16(rows * cols, strip);
  };
  const auto multiply = [&](const float* strip, std::int64_t rows, std::int64_t p,
                            std::int64_t block, float* out) {
    const std::int64_t c = block * kColumnBlock;
    kernels.multiply_panel({.w = strip + c,
                            .w_stride = cols,
                            .rows = rows,
                            .cols = std::min(kColumnBlock, cols - c),
                            .xt = x.panel(p) + c * kTokenPanel,
                            .xt_stride = kTokenPanel,
                            .tokens = x.PanelTokens(p),
                            .accumulate = block > 0,
                            .out = out,
                            .out_stride = kTokenPanel});
  };
  return MultiplyStrips<float>(w, x, StripOf(w, kColumnBlock, x.tokens()), decode, multiply);
}

Matrix MatMulScaled(const EncodedMatrix& w, const PackedQuantizedTokens& x,
                    std::optional<std::uint64_t> dither_seed) {
  CheckColumns(w, x.codes);
  const Kernels& kernels = ActiveKernels();
  const std::int64_t cols = w.cols();
  const BlockShape shared = w.block_shape();
  CR_CHECK(shared.cols == 0 || shared.cols == x.group, "weight blocks of {} columns, tokens of {}",
           shared.cols, x.group);
  const auto decode = [&](std::int64_t begin, std::int64_t rows, float* strip) {
    if (dither_seed) {
      w.DecodeCodesDithered(begin, rows, *dither_seed, strip);
    } else {
      w.DecodeCodes(begin, rows, strip);
    }
    ReadStripScales(w, {shared}, begin, rows, (cols + x.group - 1) / x.group);
  };
  // Whole groups, about kColumnBlock columns of them.
  const std::int64_t groups = std::max<std::int64_t>(kColumnBlock / x.group, 1);
  const auto multiply = [&](const float* strip, std::int64_t rows, std::int64_t p,
                            std::int64_t block, float* out) {
    if (block == 0) std::fill_n(out, rows * kTokenPanel, 0.0f);
    const std::int64_t first = block * groups;
    for (std::int64_t b = first; b < first + groups && b * x.group < cols; ++b) {
      const std::int64_t c = b * x.group;
      kernels.multiply_panel(
          {.w = strip + c,
           .w_stride = cols,
           .rows = rows,
           .cols = std::min(x.group, cols - c),
           .xt = x.codes.panel(p) + c * kTokenPanel,
           .xt_stride = kTokenPanel,
           .tokens = x.codes.PanelTokens(p),
           .row_scale = StripScales(b),
           .token_scale = x.scales.data() + b * x.codes.padded() + p * kTokenPanel,
           .out = out,
           .out_stride = kTokenPanel});
    }
  };
  const StripShape shape = StripOf(w, groups * x.group, x.codes.tokens());
  return MultiplyStrips<float>(w, x.codes, shape, decode, multiply);
}

}  // namespace cacheready
