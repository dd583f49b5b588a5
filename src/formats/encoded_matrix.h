// A weight matrix as it is stored, and how its numbers are read: bytes -> floats, without names or
// model knowledge. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/matrix.h"
#include "tensor/tensor_view.h"

namespace cacheready {

// How a stored code grid is scaled: one scale per block_rows x block_cols block, ragged at the
// edges (ceil). block 0 x 0 means "no block scales": the codes are the weights.
struct BlockShape {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
};

// What bf16 products multiply: weight = number * scale(block) * factor, the numbers exact in bf16
// where the format allows it. Block 0 x 0: no scales of blocks are left to apply.
struct Bf16Form {
  BlockShape block = {};
  float factor = 1;
};

// One storage format over one logical matrix [rows = out, cols = in]. Implementations are immutable
// and thread-safe; they view tensors of an open checkpoint. Valid while the Checkpoint lives.
class EncodedMatrix {
 public:
  virtual ~EncodedMatrix() = default;

  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  virtual std::string_view format()
      const = 0;  // "bf16", "f32", "fp8-block", ... for inspect and profiles

  // Weights of rows [begin, begin + count) as the format defines them in fp32, row-major into out
  // [count, cols].
  virtual void DecodeRows(std::int64_t begin, std::int64_t count, float* out) const = 0;

  // Where the codes of these rows lie, for prefetching them; empty if that is not one piece.
  virtual std::span<const std::byte> StoredBytes(std::int64_t /*begin*/,
                                                 std::int64_t /*count*/) const {
    return {};
  }

  // Low-precision codes and scales apart, for kernels that multiply exact codes and scale per
  // block: weight = code * scale(block). Formats without block scales return {0,0} and DecodeCodes
  // equals DecodeRows.
  virtual BlockShape block_shape() const { return {}; }
  virtual void DecodeCodes(std::int64_t begin, std::int64_t count, float* out) const {
    DecodeRows(begin, count, out);
  }
  virtual float Scale(std::int64_t /*block_row*/, std::int64_t /*block_col*/) const { return 1.0f; }
  // All of one row of blocks, faster than one by one.
  virtual void Scales(std::int64_t block_row, std::span<float> out) const {
    for (std::size_t b = 0; b < out.size(); ++b) {
      out[b] = Scale(block_row, static_cast<std::int64_t>(b));
    }
  }

  // The form's numbers: as floats, and as bf16 where that is faster, else false and `out` is as it
  // was.
  virtual Bf16Form bf16_form() const { return {block_shape()}; }
  virtual void DecodeBf16Form(std::int64_t begin, std::int64_t count, float* out) const {
    DecodeCodes(begin, count, out);
  }
  virtual bool CopyBf16Form(std::int64_t /*begin*/, std::int64_t /*count*/,
                            std::uint16_t* /*out*/) const {
    return false;
  }

  // The same rows with a seeded uniform +-1/2 step of the stored format's own grid added to every
  // weight (what another rounding of the unknown original could have been). The offset depends on
  // (seed, tensor name, slice, row, col) only: gate and up of one expert get unrelated offsets.
  // The step is that of the weight's own binade. An exact zero stays zero in BF16 and F16, where it
  // is a value of its own; in fp8-block it is what everything below half the smallest subnormal
  // became, and gets the subnormal step. F32 is left as it is: half its step is below what fp32
  // arithmetic can add.
  virtual void DecodeRowsDithered(std::int64_t begin, std::int64_t count, std::uint64_t seed,
                                  float* out) const = 0;
  // Likewise apart from the scale: DecodeRowsDithered = this * scale(block).
  virtual void DecodeCodesDithered(std::int64_t begin, std::int64_t count, std::uint64_t seed,
                                   float* out) const {
    DecodeRowsDithered(begin, count, seed, out);
  }

 protected:
  EncodedMatrix(std::int64_t rows, std::int64_t cols) : rows_(rows), cols_(cols) {}

 private:
  std::int64_t rows_;
  std::int64_t cols_;
};

using EncodedMatrixPtr = std::unique_ptr<const EncodedMatrix>;

Matrix DecodeAll(const EncodedMatrix& matrix);

// A matrix held in memory as floats (tests, patched router rows, merged weights); format() is
// "f32".
EncodedMatrixPtr MakeDenseMatrix(Matrix values);

// Rows [row_begin, row_begin + rows) of slice `index` of a plain BF16/F16/F32 tensor [E, out, in]
// (or of a 2-D tensor with index 0). `transposed` says that the tensor is [E, in, out].
// `row_stride` 2 picks every second row (interleaved gate/up).
struct PlainSlice {
  std::int64_t index = 0;
  std::int64_t row_begin = 0;
  std::int64_t rows = -1;  // -1: to the end
  std::int64_t row_stride = 1;
  bool transposed = false;
};
EncodedMatrixPtr MakePlainMatrix(const TensorView& tensor, const PlainSlice& slice = {});

// FP8 E4M3 codes [out, in] with one BF16/F32/F16/E8M0 multiplier per block ("weight_scale_inv").
EncodedMatrixPtr MakeFp8BlockMatrix(const TensorView& weight, const TensorView& scale,
                                    BlockShape block);

}  // namespace cacheready
