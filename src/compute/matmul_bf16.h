// y = x Wᵀ in bf16, the fast option where rounding x to bf16 is affordable; never for a router.
//
// Low-precision codes are exact in bf16, some with the scales of their blocks (see Bf16Form): they
// are multiplied as they are, and the scales that are left are applied in fp32. Other weights,
// dithered ones included, and tokens are rounded once to bf16, to nearest even. Against the exact
// product of what is stored an output is off by at most the sum of its terms' magnitudes times
//   2^-8 if tokens are not bf16 numbers, and again if weights are not, for rounding them, and
//   2^-24 for each rounding on a term's way: at most columns + blocks + 2 (subnormals apart, which
//   count as zeros: 2^-126 a term).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "compute/matmul.h"

namespace cacheready {

// Whose instruction's bits (see Kernels): a numerics class of its own. Either runs everywhere, fast
// where the CPU has the instruction; results of different classes are never mixed.
enum class Bf16Numerics : std::uint8_t { kAmx, kAvx512 };
std::string_view NumericsClassName(Bf16Numerics numerics);  // "bf16-amx-1", "bf16-avx512-1"

// How columns are cut into blocks, each of them a chain of its own and padded with zeros to whole
// steps of kStepColumns. `block` 0: one block.
struct ColumnBlocks {
  ColumnBlocks(std::int64_t cols, std::int64_t block);
  std::int64_t words() const { return blocks * steps * kStepPairs; }

  std::int64_t cols, block;
  std::int64_t blocks, steps;  // steps of one block
};

// x for the kernels: [panel][pairs of columns][kTokenPanel], padded with zeros.
class Bf16Tokens {
 public:
  // For weights whose scales are in blocks of `block` columns (Bf16BlockColumns).
  Bf16Tokens(const RowsView& x, std::int64_t block);
  // Exact e4m3 codes with a scale for each token and group, the blocks.
  explicit Bf16Tokens(const QuantizedTokens& x);

  std::int64_t tokens() const { return tokens_; }
  std::int64_t panels() const;
  std::int64_t PanelTokens(std::int64_t p) const;
  bool quantized() const { return !scales_.empty(); }
  const ColumnBlocks& columns() const { return columns_; }
  const std::uint32_t* panel(std::int64_t p) const;
  // Of the tokens of panel p in the first block, [kTokenPanel], and how far those of the next block
  // are from them; all 1 if tokens were not quantized.
  struct TokenScales {
    const float* first = nullptr;
    std::int64_t stride = 0;
  };
  TokenScales Scales(std::int64_t p) const;

 private:
  void Pack(const RowsView& x);

  std::int64_t tokens_;
  ColumnBlocks columns_;
  UnsetVector<std::uint32_t> words_;

  std::vector<float> scales_;  // [blocks][padded tokens], empty if not quantized
};

// Columns that share a scale of w as MatMulBf16 reads it; 0 if none is applied.
std::int64_t Bf16BlockColumns(const EncodedMatrix& w, WeightReading reading);

// Requires tokens packed for w's blocks (Bf16BlockColumns), or, if quantized, w's blocks (if any)
// to be their groups. Same bits for any thread count and batch, and on every CPU.
Matrix MatMulBf16(const EncodedMatrix& w, const Bf16Tokens& x, Bf16Numerics numerics,
                  const MatMulOptions& options = {});

}  // namespace cacheready
