// GPTQ: integers of 4 or 8 bits packed along the input, qweight I32 [in * bits / 32, out], lowest
// bits first; scales [groups, out]; zero points packed along the output, qzeros I32 [groups, out *
// bits / 32]; optional g_idx I32 [in], the group of every input. weight = (q - z) * scale.
//
// The first layout stores z - 1, subtracted from whole words ("checkpoint_format": "gptq", or
// none); the second stores z ("gptq_v2"). Tensors do not tell the two apart, the config does.
// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "formats/format_files.h"
#include "formats/packed_integers.h"
#include "formats/scaled_matrix.h"

namespace cacheready {
namespace {

struct Gptq {
  TensorView codes, zeros, scales;
  std::optional<TensorView> group_index = {};
  int bits = 4;
  bool minus_one = false;  // zero points are stored less 1
  bool symmetric = false;  // the config says that all of them are half the range
  std::int64_t rows = 0, cols = 0, groups = 1, group_size = 1;
};

class GptqMatrix : public ScaledMatrix {
 public:
  explicit GptqMatrix(Gptq gptq)
      : ScaledMatrix({.name = gptq.codes.name,
                      .rows = gptq.rows,
                      .cols = gptq.cols,
                      .block = {1, gptq.group_size},
                      .scattered_blocks = gptq.group_index ? gptq.groups : 0,
                      .column_major = true,
                      .grid = kIntegerGrid}),
        gptq_(std::move(gptq)) {}

  std::string_view format() const override { return "gptq"; }

 protected:
  void ReadCodes(std::int64_t begin, std::int64_t count, float* out) const override {
    const std::int64_t words = CeilDiv(cols(), PerWord(gptq_.bits));
    const std::vector<std::uint32_t> codes = ReadWords(begin, count);
    const std::vector<float> zeros = ReadZeros(begin, count);
    std::vector<std::int32_t> group_of;
    if (gptq_.group_index) group_of = BlockOfColumns();
    for (std::int64_t r = 0; r < count; ++r) {
      UnpackIntegers(reinterpret_cast<const std::byte*>(codes.data() + r * words), cols(),
                     gptq_.bits, out + r * cols());
      SubtractZeros({zeros.data() + r * gptq_.groups, static_cast<std::size_t>(gptq_.groups)},
                    gptq_.group_size, group_of,
                    {out + r * cols(), static_cast<std::size_t>(cols())});
    }
  }
  void ReadBlockScales(std::int64_t block_row, std::int64_t first,
                       std::span<float> out) const override {
    ReadScales(gptq_.scales, first * rows() + block_row, rows(), out);
  }
  std::vector<std::int32_t> BlockOfColumns() const override {
    return ReadGroupIndex(*gptq_.group_index, gptq_.groups, gptq_.group_size);
  }

 private:
  // [count][words of a row]
  std::vector<std::uint32_t> ReadWords(std::int64_t begin, std::int64_t count) const {
    const std::int64_t words = CeilDiv(cols(), PerWord(gptq_.bits));
    std::vector<std::uint32_t> codes(static_cast<std::size_t>(count * words));
    for (std::int64_t w = 0; w < words; ++w) {
      for (std::int64_t r = 0; r < count; ++r) {
        codes[static_cast<std::size_t>(r * words + w)] =
            LoadWord(gptq_.codes, w * rows() + begin + r);
      }
    }
    return codes;
  }

  // [count][groups]
  std::vector<float> ReadZeros(std::int64_t begin, std::int64_t count) const {
    const std::int64_t per_word = PerWord(gptq_.bits);
    const std::int64_t words = gptq_.zeros.shape[1];
    // Added to the whole word: so a carry undoes the borrow of a zero point that was 0.
    const std::uint32_t one_each = gptq_.bits == 4 ? 0x11111111u : 0x01010101u;
    std::vector<float> zeros;
    zeros.reserve(static_cast<std::size_t>(gptq_.groups * count));
    for (std::int64_t r = begin; r < begin + count; ++r) {
      for (std::int64_t g = 0; g < gptq_.groups; ++g) {
        const std::uint32_t word = LoadWord(gptq_.zeros, g * words + r / per_word);
        const int zero =
            IntegerAt(word + (gptq_.minus_one ? one_each : 0), gptq_.bits, r % per_word);
        if (gptq_.symmetric && zero != 1 << (gptq_.bits - 1)) FailZero(zero, g, r);
        zeros.push_back(static_cast<float>(zero));
      }
    }
    return zeros;
  }

  [[noreturn]] void FailZero(int zero, std::int64_t group, std::int64_t row) const {
    Fail(
        "{}: tensor '{}' has zero point {} for group {} of output {}, and the config says 'sym', "
        "which is {}: is 'checkpoint_format' right? (It is read as {}.)",
        gptq_.zeros.file, gptq_.zeros.name, zero, group, row, 1 << (gptq_.bits - 1),
        gptq_.minus_one ? "gptq" : "gptq_v2");
  }

  Gptq gptq_;
};

void CheckTensors(const Gptq& gptq) {
  const std::int64_t per_word = PerWord(gptq.bits);
  const std::vector<std::int64_t> codes = {CeilDiv(gptq.cols, per_word), gptq.rows};
  const std::vector<std::int64_t> zeros = {gptq.groups, CeilDiv(gptq.rows, per_word)};
  const bool index_fits =
      !gptq.group_index || (gptq.group_index->dtype == Dtype::kI32 &&
                            gptq.group_index->shape == std::vector<std::int64_t>{gptq.cols});
  if (gptq.codes.shape == codes && gptq.zeros.shape == zeros && index_fits) return;
  Fail(
      "{}: GPTQ tensors '{}' {}, '{}' {}, '{}' {}{} do not fit {} bits for [{}, {}]: expected {}, "
      "{}, [groups, out] and g_idx I32 [in]",
      gptq.codes.file, gptq.codes.name, ShapeText(gptq.codes.shape), gptq.zeros.name,
      ShapeText(gptq.zeros.shape), gptq.scales.name, ShapeText(gptq.scales.shape),
      gptq.group_index
          ? fmt::format(", '{}' {} {}", gptq.group_index->name, DtypeName(gptq.group_index->dtype),
                        ShapeText(gptq.group_index->shape))
          : "",
      gptq.bits, gptq.rows, gptq.cols, ShapeText(codes), ShapeText(zeros));
}

}  // namespace

bool IsGptq(const FormatRequest& /*request*/, const WeightParts& parts) {
  if (!parts.Are({".qweight", ".qzeros", ".scales"}, {".g_idx"})) return false;
  const TensorView& codes = parts.Get(".qweight");
  const TensorView& scales = parts.Get(".scales");
  return codes.dtype == Dtype::kI32 && parts.Get(".qzeros").dtype == Dtype::kI32 &&
         codes.shape.size() == 2 && scales.shape.size() == 2 && codes.shape[1] == scales.shape[1];
}

EncodedMatrixPtr OpenGptq(const FormatRequest& request, const WeightParts& parts) {
  Gptq gptq{.codes = parts.Get(".qweight"),
            .zeros = parts.Get(".qzeros"),
            .scales = parts.Get(".scales")};
  if (const TensorView* index = parts.Find(".g_idx")) gptq.group_index = *index;
  if (request.scheme == nullptr) {
    Fail(
        "{}: '{}' is stored as GPTQ, and the config has no quantization_config for it: without its "
        "checkpoint_format it is not known whether zero points are stored less 1",
        gptq.codes.file, request.module);
  }
  gptq.minus_one = request.scheme->zeros_minus_one;
  gptq.symmetric = request.scheme->weights.symmetric;
  gptq.rows = gptq.codes.shape[1];
  gptq.groups = gptq.scales.shape[0];
  gptq.bits = BitsOf(request, parts, [&](int bits) {
    const bool zeros_fit = gptq.zeros.shape == std::vector<std::int64_t>{
                                                   gptq.groups, CeilDiv(gptq.rows, PerWord(bits))};
    return zeros_fit &&
           (request.cols < 0 || gptq.codes.shape[0] == CeilDiv(request.cols, PerWord(bits)));
  });
  gptq.cols = request.cols >= 0 ? request.cols : gptq.codes.shape[0] * PerWord(gptq.bits);
  CheckTensors(gptq);
  gptq.group_size = GroupSizeOf(request, gptq.scales, gptq.groups, gptq.cols);
  if (!IsScaleDtype(gptq.scales.dtype)) {
    Fail("{}: tensor '{}' is {}, expected F16, BF16 or F32", gptq.scales.file, gptq.scales.name,
         DtypeName(gptq.scales.dtype));
  }
  return std::make_unique<GptqMatrix>(std::move(gptq));
}

}  // namespace cacheready
