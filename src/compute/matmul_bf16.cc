// SPDX-License-Identifier: Apache-2.0
#include "compute/matmul_bf16.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/parallel.h"
#include "compute/strips.h"
#include "compute/token_panels.h"

namespace cacheready {
namespace {

// Rows decoded to floats at a time, and words between rows of a strip that keep rows out of each
// other's cache sets (a step more).
constexpr std::int64_t kDecodedRows = 16;
constexpr std::int64_t kRowGap = kStepPairs;
// Blocks that one kernel call multiplies: their sums stay in cache.
constexpr std::int64_t kCallBlocks = 4;

// A row of columns into words, block by block, zeros in the padding.
void PackRow(const Kernels& kernels, const float* row, const ColumnBlocks& columns,
             std::uint32_t* words) {
  const std::int64_t block_words = columns.steps * kStepPairs;
  for (std::int64_t b = 0; b < columns.blocks; ++b) {
    const std::int64_t begin = b * columns.block;
    const std::int64_t count = std::min(columns.block, columns.cols - begin);
    std::uint32_t* to = words + b * block_words;
    kernels.pack_bf16(row + begin, count / 2, to);
    std::int64_t filled = count / 2;
    if (count % 2 != 0) {
      const float last[2] = {row[begin + count - 1], 0.0f};
      kernels.pack_bf16(last, 1, to + filled++);
    }
    std::fill(to + filled, to + block_words, 0u);
  }
}

// Strips of whole tiles, about 600 KiB: they stay in the second cache.
StripShape StripOf(const ColumnBlocks& columns) {
  const std::int64_t words = columns.words() + kRowGap;
  const std::int64_t fit = (150 << 10) / words / kRowPad * kRowPad;
  return {std::clamp<std::int64_t>(fit, 2 * kRowPad, kMaxStripRows), words};
}

std::int64_t PaddedRows(std::int64_t rows) { return (rows + kRowPad - 1) / kRowPad * kRowPad; }

struct Operands {
  const EncodedMatrix& w;
  const Bf16Tokens& x;
  const MatMulOptions& options;
  bool codes;         // are multiplied, not weights
  bool apply_scales;  // of weights or tokens
};

void DecodeFloats(const Operands& o, std::int64_t begin, std::int64_t rows, float* out) {
  const std::optional<std::uint64_t>& seed = o.options.dither_seed;
  if (o.codes) {
    seed ? o.w.DecodeCodesDithered(begin, rows, *seed, out) : o.w.DecodeCodes(begin, rows, out);
  } else {
    seed ? o.w.DecodeRowsDithered(begin, rows, *seed, out) : o.w.DecodeRows(begin, rows, out);
  }
}

void DecodeStrip(const Kernels& kernels, const Operands& o, std::int64_t begin, std::int64_t rows,
                 std::int64_t stride, std::uint32_t* strip) {
  const ColumnBlocks& columns = o.x.columns();
  float* floats = StripMemory<float, StripUse::kDecoded>(kDecodedRows * columns.cols);
  for (std::int64_t first = 0; first < rows; first += kDecodedRows) {
    const std::int64_t count = std::min(kDecodedRows, rows - first);
    DecodeFloats(o, begin + first, count, floats);
    for (std::int64_t r = 0; r < count; ++r) {
      PackRow(kernels, floats + r * columns.cols, columns, strip + (first + r) * stride);
    }
  }
  std::fill(strip + rows * stride, strip + PaddedRows(rows) * stride, 0u);
  if (o.apply_scales) ReadStripScales(o.w, begin, rows, columns.blocks);
}

// out += partial * scales, block by block, for `count` of them from `first` on.
void AddBlocks(const Kernels& kernels, const Bf16Tokens& x, std::int64_t p, std::int64_t rows,
               std::int64_t first, std::int64_t count, const float* partial, float* out) {
  for (std::int64_t b = 0; b < count; ++b) {
    kernels.add_scaled(partial + b * kMaxStripRows * kTokenPanel, StripScales(first + b),
                       x.Scales(p, first + b), rows, kTokenPanel, out);
  }
}

}  // namespace

std::string_view NumericsClassName(Bf16Numerics numerics) {
  return numerics == Bf16Numerics::kAmx ? "bf16-amx-1" : "bf16-avx512-1";
}

ColumnBlocks::ColumnBlocks(std::int64_t all, std::int64_t each) : cols(all), block(each) {
  if (block <= 0 || block > cols) block = std::max<std::int64_t>(cols, 1);
  blocks = std::max<std::int64_t>((cols + block - 1) / block, 1);
  steps = (block + kStepColumns - 1) / kStepColumns;
}

template <typename ReadRow>
void Bf16Tokens::Pack(ReadRow read_row) {
  const Kernels& kernels = ActiveKernels();
  const std::int64_t row_words = columns_.words(), panel_words = row_words * kTokenPanel;
  words_.resize(static_cast<std::size_t>(panels() * panel_words));
  ParallelFor(panels(), [&](std::int64_t p) {
    const std::int64_t count = std::min(kTokenPanel, tokens_ - p * kTokenPanel);
    std::vector<float> row(static_cast<std::size_t>(columns_.cols));
    std::vector<std::uint32_t> rows(static_cast<std::size_t>(count * row_words));
    for (std::int64_t t = 0; t < count; ++t) {
      read_row(p, t, row);
      PackRow(kernels, row.data(), columns_, rows.data() + t * row_words);
    }
    TransposePanel([&](std::int64_t t) { return rows.data() + t * row_words; }, count, row_words,
                   words_.data() + p * panel_words);
  });
}

Bf16Tokens::Bf16Tokens(const Matrix& x, std::int64_t block)
    : tokens_(x.rows()), columns_(x.cols(), block) {
  Pack([&](std::int64_t p, std::int64_t t, std::span<float> row) {
    std::ranges::copy(x.row(p * kTokenPanel + t), row.begin());
  });
}

Bf16Tokens::Bf16Tokens(const QuantizedTokens& x)
    : tokens_(x.codes.tokens()), columns_(x.codes.cols(), x.group), scales_(x.scales) {
  Pack([&](std::int64_t p, std::int64_t t, std::span<float> row) {
    const float* panel = x.codes.panel(p);
    for (std::size_t c = 0; c < row.size(); ++c) {
      row[c] = panel[static_cast<std::int64_t>(c) * kTokenPanel + t];
    }
  });
}

std::int64_t Bf16Tokens::panels() const { return PanelsOf(tokens_); }
std::int64_t Bf16Tokens::PanelTokens(std::int64_t p) const { return TokensOfPanel(tokens_, p); }
const std::uint32_t* Bf16Tokens::panel(std::int64_t p) const {
  return words_.data() + p * columns_.words() * kTokenPanel;
}
const float* Bf16Tokens::Scales(std::int64_t p, std::int64_t b) const {
  static constexpr auto kOnes = [] {
    std::array<float, kTokenPanel> ones{};
    ones.fill(1.0f);
    return ones;
  }();
  return quantized() ? scales_.data() + (b * panels() + p) * kTokenPanel : kOnes.data();
}

std::int64_t Bf16BlockColumns(const EncodedMatrix& w, WeightReading reading) {
  return reading == WeightReading::kStored ? w.block_shape().cols : 0;
}

Matrix MatMulBf16(const EncodedMatrix& w, const Bf16Tokens& x, Bf16Numerics numerics,
                  const MatMulOptions& options) {
  const Kernels& kernels = ActiveKernels();
  const ColumnBlocks& columns = x.columns();
  const std::int64_t weight_block = Bf16BlockColumns(w, options.reading);
  CR_CHECK(w.cols() == columns.cols, "weight has {} columns, tokens {}", w.cols(), columns.cols);
  const bool fits = ColumnBlocks(w.cols(), weight_block).block == columns.block;
  CR_CHECK(fits || (x.quantized() && weight_block == 0),
           "weight blocks of {} columns, tokens of {}", weight_block, columns.block);
  const bool apply_scales = weight_block != 0 || x.quantized();
  const Operands operands{w, x, options, weight_block != 0, apply_scales};
  const StripShape shape = StripOf(columns);
  const auto product =
      numerics == Bf16Numerics::kAmx ? kernels.multiply_bf16_amx : kernels.multiply_bf16_avx512;
  const auto decode = [&](std::int64_t begin, std::int64_t rows, std::uint32_t* strip) {
    DecodeStrip(kernels, operands, begin, rows, shape.words_per_row, strip);
  };
  const auto multiply = [&](const std::uint32_t* strip, std::int64_t rows, std::int64_t p,
                            std::int64_t, float* out) {
    alignas(64) float partial[kCallBlocks * kMaxStripRows * kTokenPanel];
    if (apply_scales) std::fill_n(out, rows * kTokenPanel, 0.0f);
    for (std::int64_t b = 0; b < columns.blocks; b += kCallBlocks) {
      const std::int64_t count = std::min(kCallBlocks, columns.blocks - b);
      const std::int64_t skipped = b * columns.steps * kStepPairs;
      product({.w = strip + skipped,
               .w_stride = shape.words_per_row,
               .rows = PaddedRows(rows),
               .xt = x.panel(p) + skipped * kTokenPanel,
               .tokens = x.PanelTokens(p),
               .blocks = count,
               .block_steps = columns.steps,
               .out = apply_scales ? partial : out,
               .out_block_stride = kMaxStripRows * kTokenPanel});
      if (apply_scales) AddBlocks(kernels, x, p, rows, b, count, partial, out);
    }
  };
  return MultiplyStrips<std::uint32_t>(w, x, shape, decode, multiply);
}

}  // namespace cacheready
