// What formats with codes on a small grid and one stored scale per block have in common.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "formats/dither.h"
#include "formats/encoded_matrix.h"

namespace cacheready {

// Every `stride`-th element from `begin` on of a tensor of scales: F32, BF16, F16, F8_E4M3, or
// powers of two in F8_E8M0 or U8. Fails, naming tensor and place, where one is no finite number.
void ReadScales(const TensorView& tensor, std::int64_t begin, std::int64_t stride,
                std::span<float> out);
bool IsScaleDtype(Dtype dtype);

struct ScaledSpec {
  std::string name;         // of the tensor of codes: seeds its dither
  std::uint64_t slice = 0;  // tells slices of that tensor apart
  std::int64_t rows = 0, cols = 0;
  BlockShape block = {};  // rows x cols that share a scale
  // Above 0: the columns of a block are not consecutive (BlockOfColumns tells where they are), and
  // so many blocks are in a row.
  std::int64_t scattered_blocks = 0;
  // Codes lie column by column: reading many rows at once costs little more than reading one.
  bool column_major = false;
  DitherGrid grid = {};  // of the codes
};

// weight = code * scale(block), rounded once to fp32. Opening one reads no data: codes and scales
// are read where they lie, when rows are decoded. (A sixteenth of a large FP4 checkpoint is scales:
// copies of them would not fit.)
class ScaledMatrix : public EncodedMatrix {
 public:
  BlockShape block_shape() const override { return scattered() ? BlockShape{} : spec_.block; }
  float Scale(std::int64_t block_row, std::int64_t block_col) const override;
  void Scales(std::int64_t block_row, std::span<float> out) const override;
  void DecodeRows(std::int64_t begin, std::int64_t count, float* out) const override;
  void DecodeCodes(std::int64_t begin, std::int64_t count, float* out) const override;
  void DecodeRowsDithered(std::int64_t begin, std::int64_t count, std::uint64_t seed,
                          float* out) const override;
  void DecodeCodesDithered(std::int64_t begin, std::int64_t count, std::uint64_t seed,
                           float* out) const override;

 protected:
  explicit ScaledMatrix(ScaledSpec spec);

  std::int64_t blocks_per_row() const { return blocks_per_row_; }
  // Codes of rows [begin, begin + count), row-major, zero points subtracted.
  virtual void ReadCodes(std::int64_t begin, std::int64_t count, float* out) const = 0;
  // Scales of the blocks from `first` on of one row of blocks.
  virtual void ReadBlockScales(std::int64_t block_row, std::int64_t first,
                               std::span<float> out) const = 0;
  // The block of every column, in [0, blocks_per_row). Called only for scattered blocks.
  virtual std::vector<std::int32_t> BlockOfColumns() const;

 private:
  struct RowScales;  // of the row of blocks that was read last

  bool scattered() const { return spec_.scattered_blocks > 0; }
  // Codes, dithered if there is a seed, times scales if they are asked for (or scattered).
  void Decode(std::int64_t begin, std::int64_t count, std::optional<std::uint64_t> seed,
              bool scaled, float* out) const;
  void ApplyScales(std::int64_t row, RowScales& scales, float* codes) const;

  ScaledSpec spec_;
  std::int64_t blocks_per_row_;
};

std::int64_t CeilDiv(std::int64_t a, std::int64_t b);

}  // namespace cacheready
