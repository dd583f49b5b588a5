// FP8 E4M3 codes [out, in], each multiplied by a scale of its block, its row, 32 neighbours in its
// row, or the whole tensor. Published as weight_scale_inv (a multiplier despite its name) or
// weight_scale.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <vector>

#include "base/error.h"
#include "formats/decode_kernels.h"
#include "formats/format_files.h"
#include "formats/scaled_matrix.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

constexpr std::string_view kBlockFormat = "fp8-block";
constexpr std::string_view kRowFormat = "fp8-channel";
constexpr std::string_view kTensorFormat = "fp8-tensor";
constexpr std::string_view kMxFormat = "mxfp8";
constexpr std::int64_t kMxGroup = 32;

class Fp8Matrix : public ScaledMatrix {
 public:
  Fp8Matrix(std::string_view format, const TensorView& weight, const TensorView& scale,
            BlockShape block)
      : ScaledMatrix({.name = weight.name,
                      .rows = weight.shape[0],
                      .cols = weight.shape[1],
                      .block = block,
                      .grid = kE4m3Grid}),
        format_(format),
        codes_(weight),
        scales_(scale) {}

  std::string_view format() const override { return format_; }

  // Powers of two leave a code exact, so that no scales are left.
  Bf16Form bf16_form() const override {
    return format_ == kMxFormat ? Bf16Form{} : Bf16Form{block_shape()};
  }
  void DecodeBf16Form(std::int64_t begin, std::int64_t count, float* out) const override {
    format_ == kMxFormat ? DecodeRows(begin, count, out) : DecodeCodes(begin, count, out);
  }
  bool CopyBf16Form(std::int64_t begin, std::int64_t count, std::uint16_t* out) const override {
    if (format_ == kMxFormat) return false;
    ActiveDecodeKernels().e4m3_to_bf16(Codes(begin), count * cols(), E4m3Bf16Table().data(), out);
    return true;
  }

  std::span<const std::byte> StoredBytes(std::int64_t begin, std::int64_t count) const override {
    return codes_.bytes.subspan(static_cast<std::size_t>(begin * cols()),
                                static_cast<std::size_t>(count * cols()));
  }

 protected:
  void ReadCodes(std::int64_t begin, std::int64_t count, float* out) const override {
    ActiveDecodeKernels().widen_e4m3(Codes(begin), count * cols(), E4m3Table().data(), out);
  }
  void ReadBlockScales(std::int64_t block_row, std::int64_t first,
                       std::span<float> out) const override {
    ReadScales(scales_, block_row * blocks_per_row() + first, 1, out);
  }

 private:
  const std::uint8_t* Codes(std::int64_t row) const {
    return reinterpret_cast<const std::uint8_t*>(codes_.bytes.data() + row * cols());
  }

  std::string_view format_;
  TensorView codes_, scales_;
};

void CheckCodes(const TensorView& weight) {
  if (weight.dtype != Dtype::kF8E4M3 || weight.shape.size() != 2) {
    Fail("{}: tensor '{}' is {} {}, expected an F8_E4M3 matrix [out, in]", weight.file, weight.name,
         DtypeName(weight.dtype), ShapeText(weight.shape));
  }
  CR_CHECK(static_cast<std::int64_t>(weight.bytes.size()) == weight.NumElements(),
           "tensor '{}' holds {} bytes", weight.name, weight.bytes.size());
}

// One way in which scales may span the codes.
struct Spans {
  std::string_view format;
  BlockShape block;
};

bool FitsBlocks(const std::vector<std::int64_t>& scale, const std::vector<std::int64_t>& weight,
                BlockShape block) {
  return scale ==
         std::vector<std::int64_t>{CeilDiv(weight[0], block.rows), CeilDiv(weight[1], block.cols)};
}

BlockShape BlockOf(const FormatRequest& request) {
  const bool told = request.scheme != nullptr && request.scheme->weights.span == ScaleSpan::kBlock;
  return told ? request.scheme->weights.block : BlockShape{128, 128};
}

// All ways that fit the shapes of codes [O, I] and scales. They give the same weights, but not the
// same name.
std::vector<Spans> FittingSpans(const FormatRequest& request, const TensorView& weight,
                                const TensorView& scale, bool is_inverse) {
  const std::int64_t rows = weight.shape[0], cols = weight.shape[1];
  std::vector<std::int64_t> shape = scale.shape;
  if (shape.size() == 4) std::erase(shape, 1);  // [O / 128, 1, I / 128, 1]
  std::vector<Spans> fits;
  const auto add = [&](std::string_view format, BlockShape block) {
    fits.push_back(
        {format, {std::max<std::int64_t>(block.rows, 1), std::max<std::int64_t>(block.cols, 1)}});
  };
  const BlockShape block = BlockOf(request);
  const bool fits_blocks = FitsBlocks(shape, weight.shape, block);
  if (fits_blocks && is_inverse) add(kBlockFormat, block);
  if (scale.NumElements() == 1) add(kTensorFormat, {rows, cols});
  const bool one_a_row =
      shape == std::vector<std::int64_t>{rows} || shape == std::vector<std::int64_t>{rows, 1};
  if (one_a_row) add(kRowFormat, {1, cols});
  const bool powers = scale.dtype == Dtype::kU8 || scale.dtype == Dtype::kF8E8M0;
  if (powers && FitsBlocks(shape, weight.shape, {1, kMxGroup})) add(kMxFormat, {1, kMxGroup});
  if (fits_blocks && !is_inverse) add(kBlockFormat, block);
  return fits;
}

// Where several fit, the one that the config names, else the first. Blocks if none does: opening
// them tells what is wrong.
Spans SpansOf(const FormatRequest& request, const WeightParts& parts) {
  const bool is_inverse = parts.Find(".weight_scale_inv") != nullptr;
  const TensorView& weight = parts.Get(".weight");
  if (weight.shape.size() != 2) return {kBlockFormat, BlockOf(request)};
  const std::vector<Spans> fits = FittingSpans(
      request, weight, parts.Get(is_inverse ? ".weight_scale_inv" : ".weight_scale"), is_inverse);
  if (fits.empty()) return {kBlockFormat, BlockOf(request)};
  for (const Spans& spans : fits) {
    if (request.scheme != nullptr && request.scheme->format == spans.format) return spans;
  }
  return fits.front();
}

bool IsFp8(const FormatRequest& request, const WeightParts& parts, std::string_view format) {
  for (const std::string_view scale : {".weight_scale_inv", ".weight_scale"}) {
    if (!parts.Are({".weight", scale}, {".input_scale", ".activation_scale"})) continue;
    return parts.Get(".weight").dtype == Dtype::kF8E4M3 && IsScaleDtype(parts.Get(scale).dtype) &&
           SpansOf(request, parts).format == format;
  }
  return false;
}

}  // namespace

EncodedMatrixPtr MakeFp8BlockMatrix(const TensorView& weight, const TensorView& scale,
                                    BlockShape block) {
  CheckCodes(weight);
  if (block.rows < 1 || block.cols < 1) {
    Fail("{}: tensor '{}': weight_block_size [{}, {}] is not positive", weight.file, weight.name,
         block.rows, block.cols);
  }
  std::vector<std::int64_t> shape = scale.shape;
  if (shape.size() == 4) std::erase(shape, 1);
  if (!FitsBlocks(shape, weight.shape, block)) {
    Fail("{}: tensor '{}' has shape {}, expected [{}, {}]: one scale per {}x{} block of '{}' {}",
         scale.file, scale.name, ShapeText(scale.shape), CeilDiv(weight.shape[0], block.rows),
         CeilDiv(weight.shape[1], block.cols), block.rows, block.cols, weight.name,
         ShapeText(weight.shape));
  }
  return std::make_unique<Fp8Matrix>(kBlockFormat, weight, scale, block);
}

bool IsFp8Block(const FormatRequest& request, const WeightParts& parts) {
  return IsFp8(request, parts, kBlockFormat);
}
bool IsFp8Channel(const FormatRequest& request, const WeightParts& parts) {
  return IsFp8(request, parts, kRowFormat);
}
bool IsFp8Tensor(const FormatRequest& request, const WeightParts& parts) {
  return IsFp8(request, parts, kTensorFormat);
}
bool IsMxfp8(const FormatRequest& request, const WeightParts& parts) {
  return IsFp8(request, parts, kMxFormat);
}

EncodedMatrixPtr OpenFp8(const FormatRequest& request, const WeightParts& parts) {
  const TensorView& weight = parts.Get(".weight");
  const TensorView* inverse = parts.Find(".weight_scale_inv");
  const TensorView& scale = inverse != nullptr ? *inverse : parts.Get(".weight_scale");
  const Spans spans = SpansOf(request, parts);
  if (spans.format == kBlockFormat) return MakeFp8BlockMatrix(weight, scale, spans.block);
  CheckCodes(weight);
  return std::make_unique<Fp8Matrix>(spans.format, weight, scale, spans.block);
}

}  // namespace cacheready
