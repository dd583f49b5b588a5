// AWQ, the layout of its GEMM kernels: integers of 4 bits packed along the output, qweight I32 [in,
// out / 8] and qzeros I32 [groups, out / 8], in an order that suits the kernels; scales [groups,
// out]. weight = (q - z) * scale.
// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <vector>

#include "base/error.h"
#include "formats/decode_kernels.h"
#include "formats/format_files.h"
#include "formats/packed_integers.h"
#include "formats/scaled_matrix.h"

namespace cacheready {
namespace {

constexpr int kBits = 4;
constexpr std::int64_t kPerWord = 8;
// Where in a word the outputs 0 ... 7 of its eight lie.
constexpr std::int64_t kPlaces[kPerWord] = {0, 4, 1, 5, 2, 6, 3, 7};

struct Awq {
  TensorView codes, zeros, scales;
  std::int64_t rows = 0, cols = 0, group_size = 1;
};

// The integer of `output` in a row of words.
int OutputAt(const TensorView& tensor, std::int64_t row, std::int64_t output) {
  const std::uint32_t word = LoadWord(tensor, row * tensor.shape[1] + output / kPerWord);
  return IntegerAt(word, kBits, kPlaces[output % kPerWord]);
}

class AwqMatrix : public ScaledMatrix {
 public:
  explicit AwqMatrix(Awq awq)
      : ScaledMatrix({.name = awq.codes.name,
                      .rows = awq.rows,
                      .cols = awq.cols,
                      .block = {1, awq.group_size},
                      .column_major = true,
                      .grid = kIntegerGrid}),
        awq_(std::move(awq)) {}

  std::string_view format() const override { return "awq"; }

 protected:
  void ReadCodes(std::int64_t begin, std::int64_t count, float* out) const override {
    const std::int64_t groups = awq_.zeros.shape[0];
    std::vector<std::uint32_t> words(static_cast<std::size_t>(cols()));
    std::vector<float> zeros(static_cast<std::size_t>(groups));
    std::int64_t read = -1;  // the column of words that is in `words`
    for (std::int64_t r = 0; r < count; ++r) {
      const std::int64_t output = begin + r;
      if (read != output / kPerWord) {
        read = output / kPerWord;
        for (std::int64_t c = 0; c < cols(); ++c) {
          words[static_cast<std::size_t>(c)] = LoadWord(awq_.codes, c * awq_.codes.shape[1] + read);
        }
      }
      const auto shift = static_cast<int>(kBits * kPlaces[output % kPerWord]);
      ActiveDecodeKernels().widen_fields(words.data(), cols(), shift, kBits, out + r * cols());
      for (std::int64_t g = 0; g < groups; ++g) {
        zeros[static_cast<std::size_t>(g)] = static_cast<float>(OutputAt(awq_.zeros, g, output));
      }
      SubtractZeros(zeros, awq_.group_size, {},
                    {out + r * cols(), static_cast<std::size_t>(cols())});
    }
  }
  void ReadBlockScales(std::int64_t block_row, std::int64_t first,
                       std::span<float> out) const override {
    ReadScales(awq_.scales, first * rows() + block_row, rows(), out);
  }

 private:
  Awq awq_;
};

}  // namespace

bool IsAwq(const FormatRequest& /*request*/, const WeightParts& parts) {
  if (!parts.Are({".qweight", ".qzeros", ".scales"})) return false;
  const TensorView& codes = parts.Get(".qweight");
  const TensorView& scales = parts.Get(".scales");
  return codes.dtype == Dtype::kI32 && parts.Get(".qzeros").dtype == Dtype::kI32 &&
         codes.shape.size() == 2 && scales.shape.size() == 2 &&
         codes.shape[1] * kPerWord == scales.shape[1] && codes.shape[1] != scales.shape[1];
}

EncodedMatrixPtr OpenAwq(const FormatRequest& request, const WeightParts& parts) {
  Awq awq{.codes = parts.Get(".qweight"),
          .zeros = parts.Get(".qzeros"),
          .scales = parts.Get(".scales")};
  awq.rows = awq.scales.shape[1];
  awq.cols = awq.codes.shape[0];
  const std::vector<std::int64_t> zeros = {awq.scales.shape[0], awq.codes.shape[1]};
  if (awq.zeros.shape != zeros || !IsScaleDtype(awq.scales.dtype)) {
    Fail(
        "{}: AWQ tensors '{}' {}, '{}' {} and '{}' {} {} do not fit: expected I32 [in, out / 8], "
        "I32 [groups, out / 8] and F16 [groups, out]",
        awq.codes.file, awq.codes.name, ShapeText(awq.codes.shape), awq.zeros.name,
        ShapeText(awq.zeros.shape), awq.scales.name, DtypeName(awq.scales.dtype),
        ShapeText(awq.scales.shape));
  }
  awq.group_size = GroupSizeOf(request, awq.scales, awq.scales.shape[0], awq.cols);
  return std::make_unique<AwqMatrix>(std::move(awq));
}

}  // namespace cacheready
