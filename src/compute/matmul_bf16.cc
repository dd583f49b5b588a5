// SPDX-License-Identifier: Apache-2.0
#include "compute/matmul_bf16.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.h"
#include "base/parallel.h"
#include "compute/strips.h"
#include "compute/token_panels.h"

namespace cacheready {
namespace {

// Calls put(step, numbers) with the kStepColumns numbers of every step of a row: its columns block
// by block, zeros in the padding.
template <typename Put>
void ForEachStep(const std::uint16_t* row, const ColumnBlocks& columns, Put put) {
  for (std::int64_t b = 0; b < columns.blocks; ++b) {
    const std::int64_t end = std::min(columns.cols, (b + 1) * columns.block);
    for (std::int64_t s = 0; s < columns.steps; ++s) {
      const std::int64_t begin = b * columns.block + s * kStepColumns;
      if (end - begin >= kStepColumns) {
        put(b * columns.steps + s, row + begin);
        continue;
      }
      std::uint16_t padded[kStepColumns] = {};
      if (begin < end) std::copy(row + begin, row + end, padded);
      put(b * columns.steps + s, padded);
    }
  }
}

// Strips of whole tiles, about 600 KiB: they stay in the second cache.
StripShape StripOf(std::int64_t rows, const ColumnBlocks& columns) {
  const std::int64_t fit = (150 << 10) / columns.words() / kRowPad * kRowPad;
  const std::int64_t most = std::clamp<std::int64_t>(fit, 2 * kRowPad, kMaxStripRows);
  return {RowsOfStrips(rows, most, kRowPad), columns.words()};
}

std::int64_t PaddedRows(std::int64_t rows) { return (rows + kRowPad - 1) / kRowPad * kRowPad; }

struct Operands {
  const EncodedMatrix& w;
  const MatMulOptions& options;
  Bf16Form form;  // of w, as it is read
  bool stored;    // the form's own numbers are multiplied, not weights rounded to bf16
};

void DecodeFloats(const Operands& o, std::int64_t begin, std::int64_t rows, float* out) {
  const std::optional<std::uint64_t>& seed = o.options.dither_seed;
  if (seed) {
    o.form.block.cols != 0 ? o.w.DecodeCodesDithered(begin, rows, *seed, out)
                           : o.w.DecodeRowsDithered(begin, rows, *seed, out);
  } else {
    o.stored ? o.w.DecodeBf16Form(begin, rows, out) : o.w.DecodeRows(begin, rows, out);
  }
}

void DecodeNumbers(const Kernels& kernels, const Operands& o, std::int64_t begin, std::int64_t rows,
                   std::uint16_t* numbers) {
  if (o.stored && !o.options.dither_seed && o.w.CopyBf16Form(begin, rows, numbers)) return;
  const std::int64_t count = rows * o.w.cols();
  float* floats = StripMemory<float, StripUse::kDecoded>(kRowPad * o.w.cols());
  DecodeFloats(o, begin, rows, floats);
  kernels.narrow_bf16(floats, count, numbers);
}

// A tile of rows at a time; rows that are not there are zeros.
void DecodeStrip(const Kernels& kernels, const Operands& o, const ColumnBlocks& columns,
                 std::int64_t begin, std::int64_t rows, std::uint32_t* strip) {
  const std::int64_t cols = columns.cols;
  auto* numbers = StripMemory<std::uint16_t, StripUse::kDecoded>(kRowPad * cols);
  for (std::int64_t first = 0; first < rows; first += kRowPad) {
    const std::int64_t count = std::min(kRowPad, rows - first);
    DecodeNumbers(kernels, o, begin + first, count, numbers);
    std::fill_n(numbers + count * cols, (kRowPad - count) * cols, std::uint16_t{0});
    std::uint32_t* tiles = strip + first * columns.words();
    for (std::int64_t r = 0; r < kRowPad; ++r) {
      ForEachStep(numbers + r * cols, columns, [&](std::int64_t step, const std::uint16_t* from) {
        std::memcpy(tiles + step * kTileWords + r * kStepPairs, from, kStepPairs * 4);
      });
    }
  }
}

// What `reading` of w multiplies. Dithered weights are no exact numbers: they are rounded.
Operands OperandsOf(const EncodedMatrix& w, const MatMulOptions& options) {
  const bool stored = options.reading == WeightReading::kStored;
  Bf16Form form = stored ? w.bf16_form() : Bf16Form{};
  if (options.dither_seed && form.block.cols == 0) form.factor = 1;
  return {w, options, form, stored};
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

void Bf16Tokens::Pack(const RowsView& x) {
  const Kernels& kernels = ActiveKernels();
  const std::int64_t cols = columns_.cols, row_words = columns_.words();
  const std::int64_t panel_words = row_words * kTokenPanel;
  words_.resize(static_cast<std::size_t>(panels() * panel_words));
  ParallelFor(panels(), [&](std::int64_t p) {
    const std::int64_t count = std::min(kTokenPanel, tokens_ - p * kTokenPanel);
    auto* numbers = StripMemory<std::uint16_t, StripUse::kDecoded>(cols);
    auto* words = StripMemory<std::uint32_t, StripUse::kWeights>(count * row_words);
    const void* rows[kTokenPanel];
    for (std::int64_t t = 0; t < count; ++t) {
      std::uint32_t* row = words + t * row_words;
      kernels.narrow_bf16(x.row(p * kTokenPanel + t).data(), cols, numbers);
      ForEachStep(numbers, columns_, [&](std::int64_t step, const std::uint16_t* from) {
        std::memcpy(row + step * kStepPairs, from, kStepPairs * 4);
      });
      rows[t] = row;
    }
    std::uint32_t* panel = words_.data() + p * panel_words;
    if (count < kTokenPanel) std::fill_n(panel, panel_words, std::uint32_t{0});
    kernels.transpose(rows, count, row_words, panel, kTokenPanel);
  });
}

Bf16Tokens::Bf16Tokens(const RowsView& x, std::int64_t block)
    : tokens_(x.rows()), columns_(x.cols(), block) {
  Pack(x);
}

Bf16Tokens::Bf16Tokens(const QuantizedTokens& x)
    : tokens_(x.codes.rows()), columns_(x.codes.cols(), x.group), scales_(x.scales) {
  Pack(x.codes);
}

std::int64_t Bf16Tokens::panels() const { return PanelsOf(tokens_); }
std::int64_t Bf16Tokens::PanelTokens(std::int64_t p) const { return TokensOfPanel(tokens_, p); }
const std::uint32_t* Bf16Tokens::panel(std::int64_t p) const {
  return words_.data() + p * columns_.words() * kTokenPanel;
}
Bf16Tokens::TokenScales Bf16Tokens::Scales(std::int64_t p) const {
  static constexpr auto kOnes = [] {
    std::array<float, kTokenPanel> ones{};
    ones.fill(1.0f);
    return ones;
  }();
  if (!quantized()) return {kOnes.data(), 0};
  return {scales_.data() + p * kTokenPanel, panels() * kTokenPanel};
}

std::int64_t Bf16BlockColumns(const EncodedMatrix& w, WeightReading reading) {
  return reading == WeightReading::kStored ? w.bf16_form().block.cols : 0;
}

Matrix MatMulBf16(const EncodedMatrix& w, const Bf16Tokens& x, Bf16Numerics numerics,
                  const MatMulOptions& options) {
  const Kernels& kernels = ActiveKernels();
  const ColumnBlocks& columns = x.columns();
  const Operands operands = OperandsOf(w, options);
  const std::int64_t weight_block = operands.form.block.cols;
  CR_CHECK(w.cols() == columns.cols, "weight has {} columns, tokens {}", w.cols(), columns.cols);
  const bool fits = ColumnBlocks(w.cols(), weight_block).block == columns.block;
  CR_CHECK(fits || (x.quantized() && weight_block == 0),
           "weight blocks of {} columns, tokens of {}", weight_block, columns.block);
  const bool scaled = weight_block != 0 || x.quantized() || operands.form.factor != 1;
  const StripShape shape = StripOf(w.rows(), columns);
  const auto product =
      numerics == Bf16Numerics::kAmx ? kernels.multiply_bf16_amx : kernels.multiply_bf16_avx512;
  const auto decode = [&](std::int64_t begin, std::int64_t rows, std::uint32_t* strip) {
    DecodeStrip(kernels, operands, columns, begin, rows, strip);
    if (scaled) ReadStripScales(w, operands.form, begin, rows, columns.blocks);
  };
  const auto multiply = [&](const std::uint32_t* strip, std::int64_t rows, std::int64_t p,
                            std::int64_t, float* out) {
    const Bf16Tokens::TokenScales scales = x.Scales(p);
    if (scaled) std::fill_n(out, PaddedRows(rows) * kTokenPanel, 0.0f);
    product({.w = strip,
             .rows = PaddedRows(rows),
             .xt = x.panel(p),
             .tokens = x.PanelTokens(p),
             .blocks = columns.blocks,
             .block_steps = columns.steps,
             .row_scales = scaled ? StripScales(0) : nullptr,
             .row_scales_stride = kMaxStripRows,
             .token_scales = scaled ? scales.first : nullptr,
             .token_scales_stride = scales.stride,
             .out = out});
  };
  return MultiplyStrips<std::uint32_t>(w, x, shape, decode, multiply);
}

}  // namespace cacheready
