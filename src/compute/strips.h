// The outer loops of every matrix product: strips of weight rows, decoded once, times panels of
// tokens. Private to this folder.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/clock.h"
#include "base/error.h"
#include "base/parallel.h"
#include "compute/kernels.h"
#include "compute/product_totals.h"
#include "formats/encoded_matrix.h"
#include "tensor/aligned.h"
#include "tensor/matrix.h"

namespace cacheready {

inline constexpr std::int64_t kMaxStripRows = 96;

// Memory of the calling thread that stays allocated from strip to strip, one for each word and use.
enum class StripUse { kWeights, kDecoded, kScales, kOutputs };
template <typename Word, StripUse kUse>
Word* StripMemory(std::int64_t words) {
  thread_local AlignedVector<Word> memory;
  if (static_cast<std::int64_t>(memory.size()) < words) {
    memory.resize(static_cast<std::size_t>(words));
  }
  return memory.data();
}

// panel_out [rows][kTokenPanel] into the columns from `row` on of the panel's tokens in y.
inline void StorePanel(const float* panel_out, std::int64_t rows, std::int64_t row,
                       std::int64_t first_token, std::int64_t tokens, Matrix& y) {
  const void* out_rows[kMaxStripRows];
  for (std::int64_t r = 0; r < rows; ++r) out_rows[r] = panel_out + r * kTokenPanel;
  ActiveKernels().transpose(out_rows, rows, tokens, y.row(first_token).data() + row, y.cols());
}

// Reads the scales of the blocks of a strip's rows, times the factor of the form, to where
// StripScales finds them: [blocks][kMaxStripRows]. The scales of weights without blocks are 1.
inline void ReadStripScales(const EncodedMatrix& w, const Bf16Form& form, std::int64_t begin,
                            std::int64_t rows, std::int64_t blocks) {
  const BlockShape shape = form.block;
  float* scales = StripMemory<float, StripUse::kScales>(blocks * (kMaxStripRows + 1));
  float* row = scales + blocks * kMaxStripRows;  // those of one row
  std::fill_n(row, blocks, form.factor);
  std::int64_t read = -1;
  for (std::int64_t r = 0; r < rows; ++r) {
    if (shape.cols != 0 && (begin + r) / shape.rows != read) {
      read = (begin + r) / shape.rows;
      w.Scales(read, {row, static_cast<std::size_t>(blocks)});
      for (std::int64_t b = 0; b < blocks; ++b) row[b] *= form.factor;
    }
    for (std::int64_t b = 0; b < blocks; ++b) scales[b * kMaxStripRows + r] = row[b];
  }
}
// Of block b, of the strip that this thread read last.
inline const float* StripScales(std::int64_t b) {
  return StripMemory<float, StripUse::kScales>(0) + b * kMaxStripRows;
}

// A strip: so many rows (at most kMaxStripRows) of so many words, multiplied in so many blocks of
// columns.
struct StripShape {
  std::int64_t rows = 0, words_per_row = 0, blocks = 1;
};

// So many rows that there is a strip for each thread, in whole tiles, but no more than `most`.
inline std::int64_t RowsOfStrips(std::int64_t all, std::int64_t most, std::int64_t tile) {
  const std::int64_t tiles = (all + tile - 1) / tile, threads = ParallelWidth();
  return std::clamp((tiles + threads - 1) / threads * tile, tile, most);
}

// Asks for part `part` of `parts` of the stored bytes, so that decoding them will not wait.
inline void Prefetch(std::span<const std::byte> stored, std::int64_t part, std::int64_t parts) {
  constexpr std::size_t kLine = 64;
  const auto at = [&](std::int64_t i) {
    return stored.size() * static_cast<std::size_t>(i) / static_cast<std::size_t>(parts);
  };
  for (std::size_t i = at(part); i < at(part + 1); i += kLine) {
    __builtin_prefetch(stored.data() + i, 0, 2);
  }
}

// Panels whose outs are held at once: more of them would not stay in the second cache.
inline constexpr std::int64_t kHeldPanels = 32;

// Calls multiply(strip, rows, panel, block, out) for every strip of the rows of w, every block of
// its columns and every panel of tokens, after decode(begin, rows, strip) of it; gathers the outs,
// which go on from block to block. A block of the strip stays in the second cache for many panels.
template <typename Word, typename Tokens, typename Decode, typename Multiply>
Matrix MultiplyStrips(const EncodedMatrix& w, const Tokens& x, const StripShape& shape,
                      Decode decode, Multiply multiply) {
  CR_CHECK(shape.rows > 0 && shape.rows <= kMaxStripRows, "strips of {} rows", shape.rows);
  Matrix y = Matrix::Uninitialized(x.tokens(), w.rows());
  if (x.tokens() == 0) return y;
  ParallelFor((w.rows() + shape.rows - 1) / shape.rows, [&](std::int64_t s) {
    const double begin_seconds = Seconds();
    const std::int64_t begin = s * shape.rows, panel_out = shape.rows * kTokenPanel;
    const std::int64_t rows = std::min(shape.rows, w.rows() - begin);
    Word* strip = StripMemory<Word, StripUse::kWeights>(shape.rows * shape.words_per_row);
    decode(begin, rows, strip);
    float* outs = StripMemory<float, StripUse::kOutputs>(kHeldPanels * panel_out);
    // The strip that this thread takes next, most likely.
    const std::int64_t next = std::min(begin + shape.rows * NumThreads(), w.rows());
    const auto next_bytes = w.StoredBytes(next, std::min(shape.rows, w.rows() - next));
    const std::int64_t products = shape.blocks * x.panels();
    for (std::int64_t i = 0; i < products; ++i) {
      Prefetch(next_bytes, i, products);
      const std::int64_t held = i / (kHeldPanels * shape.blocks) * kHeldPanels;  // the first one
      const std::int64_t width = std::min(kHeldPanels, x.panels() - held);
      const std::int64_t rest = i - held * shape.blocks, block = rest / width;
      const std::int64_t p = held + rest % width, first = p * kTokenPanel;
      float* out = outs + (p - held) * panel_out;
      multiply(strip, rows, p, block, out);
      if (block < shape.blocks - 1) continue;
      StorePanel(out, rows, begin, first, std::min(kTokenPanel, x.tokens() - first), y);
    }
    CountProduct(2.0 * static_cast<double>(rows * w.cols()) * static_cast<double>(x.tokens()),
                 Seconds() - begin_seconds);
  });
  return y;
}

}  // namespace cacheready
