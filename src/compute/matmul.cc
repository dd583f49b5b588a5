// SPDX-License-Identifier: Apache-2.0
#include "compute/matmul.h"

#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"
#include "compute/sequence_ops.h"

namespace cacheready {
namespace {

// Columns per kernel call: a panel's part (64 KiB) and a strip's part stay in the second cache.
// Going on with `accumulate` continues the same chain.
constexpr std::int64_t kColumnBlock = 512;
constexpr std::int64_t kMaxStripRows = 96;

// Rows decoded at a time: a multiple of the tile heights (6, 12), at most 384 KiB of floats.
std::int64_t StripRows(std::int64_t cols) {
  const std::int64_t fit = (96 << 10) / std::max<std::int64_t>(cols, 1) / 12 * 12;
  return std::clamp<std::int64_t>(fit, 24, kMaxStripRows);
}

// Memory of the calling thread that stays allocated from strip to strip.
float* StripMemory(std::int64_t floats) {
  thread_local std::vector<float> memory;
  if (static_cast<std::int64_t>(memory.size()) < floats) {
    memory.resize(static_cast<std::size_t>(floats));
  }
  return memory.data();
}

// panel_out [rows][kTokenPanel] into the columns from `row` on of the panel's tokens in y.
void StorePanel(const float* panel_out, std::int64_t rows, std::int64_t row,
                std::int64_t first_token, std::int64_t tokens, Matrix& y) {
  for (std::int64_t t = 0; t < tokens; ++t) {
    float* to = y.row(first_token + t).data() + row;
    for (std::int64_t r = 0; r < rows; ++r) to[r] = panel_out[r * kTokenPanel + t];
  }
}

// Calls multiply(strip, begin, rows, panel, out) for every strip of rows and panel of tokens, after
// decode(begin, rows, strip); gathers the outs.
template <typename Decode, typename Multiply>
Matrix MultiplyStrips(const EncodedMatrix& w, const PackedTokens& x, Decode decode,
                      Multiply multiply) {
  CR_CHECK(w.cols() == x.cols(), "weight has {} columns, tokens {}", w.cols(), x.cols());
  Matrix y(x.tokens(), w.rows());
  if (x.tokens() == 0) return y;
  const std::int64_t strip_rows = StripRows(w.cols());
  ParallelFor((w.rows() + strip_rows - 1) / strip_rows, [&](std::int64_t s) {
    const std::int64_t begin = s * strip_rows;
    const std::int64_t rows = std::min(strip_rows, w.rows() - begin);
    float* strip = StripMemory(strip_rows * w.cols());
    decode(begin, rows, strip);
    alignas(64) float out[kMaxStripRows * kTokenPanel];
    for (std::int64_t p = 0; p < x.panels(); ++p) {
      multiply(strip, begin, rows, p, out);
      const std::int64_t first = p * kTokenPanel;
      StorePanel(out, rows, begin, first, std::min(kTokenPanel, x.tokens() - first), y);
    }
  });
  return y;
}

}  // namespace

Matrix MatMul(const EncodedMatrix& w, const PackedTokens& x, const MatMulOptions& options) {
  const Kernels& kernels = ActiveKernels();
  const std::int64_t cols = w.cols();
  const auto decode = [&](std::int64_t begin, std::int64_t rows, float* strip) {
    if (options.dither_seed) {
      w.DecodeRowsDithered(begin, rows, *options.dither_seed, strip);
    } else {
      w.DecodeRows(begin, rows, strip);
    }
    if (options.reading == WeightReading::kRoundedBf16) {
      RoundToBf16({strip, static_cast<std::size_t>(rows * cols)});
    }
  };
  const auto multiply = [&](const float* strip, std::int64_t, std::int64_t rows, std::int64_t p,
                            float* out) {
    for (std::int64_t c = 0; c < cols; c += kColumnBlock) {
      kernels.multiply_panel({.w = strip + c,
                              .w_stride = cols,
                              .rows = rows,
                              .cols = std::min(kColumnBlock, cols - c),
                              .xt = x.panel(p) + c * kTokenPanel,
                              .xt_stride = kTokenPanel,
                              .tokens = x.PanelTokens(p),
                              .accumulate = c > 0,
                              .out = out,
                              .out_stride = kTokenPanel});
    }
  };
  return MultiplyStrips(w, x, decode, multiply);
}

Matrix MatMulScaled(const EncodedMatrix& w, const QuantizedTokens& x,
                    std::optional<std::uint64_t> dither_seed) {
  const Kernels& kernels = ActiveKernels();
  const std::int64_t cols = w.cols();
  const BlockShape block = w.block_shape();
  CR_CHECK(block.cols == 0 || block.cols == x.group, "weight blocks of {} columns, tokens of {}",
           block.cols, x.group);
  const auto decode = [&](std::int64_t begin, std::int64_t rows, float* strip) {
    if (dither_seed) {
      w.DecodeCodesDithered(begin, rows, *dither_seed, strip);
    } else {
      w.DecodeCodes(begin, rows, strip);
    }
  };
  const auto multiply = [&](const float* strip, std::int64_t begin, std::int64_t rows,
                            std::int64_t p, float* out) {
    alignas(64) float partial[kMaxStripRows * kTokenPanel];
    float row_scale[kMaxStripRows];
    std::fill_n(out, rows * kTokenPanel, 0.0f);
    for (std::int64_t c = 0, b = 0; c < cols; c += x.group, ++b) {
      for (std::int64_t r = 0; r < rows; ++r) {
        row_scale[r] = block.cols == 0 ? 1.0f : w.Scale((begin + r) / block.rows, b);
      }
      std::fill_n(partial, rows * kTokenPanel, 0.0f);
      kernels.multiply_panel({.w = strip + c,
                              .w_stride = cols,
                              .rows = rows,
                              .cols = std::min(x.group, cols - c),
                              .xt = x.codes.panel(p) + c * kTokenPanel,
                              .xt_stride = kTokenPanel,
                              .tokens = x.codes.PanelTokens(p),
                              .accumulate = false,
                              .out = partial,
                              .out_stride = kTokenPanel});
      const float* token_scale = x.scales.data() + b * x.codes.padded() + p * kTokenPanel;
      kernels.add_scaled(partial, row_scale, token_scale, rows, kTokenPanel, out);
    }
  };
  return MultiplyStrips(w, x.codes, decode, multiply);
}

}  // namespace cacheready
