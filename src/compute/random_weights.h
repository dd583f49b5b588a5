// For tests and benchmarks: weights of every storage format, normally distributed, never zeros.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "formats/fake_checkpoint.h"
#include "tensor/float_formats.h"

namespace cacheready {

// One weight [rows, cols] of a format of WeightFormats(), opened as a checkpoint's is. Columns that
// do not fill the last byte or word of a packed format are refused by it: give multiples of 8.
class RandomWeight {
 public:
  RandomWeight(std::string format, std::int64_t rows, std::int64_t cols, std::uint64_t seed)
      : format_(std::move(format)), rows_(rows), cols_(cols), seed_(seed) {
    AddTensors();
    matrix_ = OpenWeight({.module = "m",
                          .rows = rows,
                          .cols = cols,
                          .scheme = scheme_.format.empty() ? nullptr : &scheme_},
                         tensors_.finder());
  }
  RandomWeight(const RandomWeight&) = delete;
  RandomWeight& operator=(const RandomWeight&) = delete;

  const EncodedMatrix& matrix() const { return *matrix_; }

 private:
  static std::int64_t Blocks(std::int64_t count, std::int64_t of) { return (count + of - 1) / of; }

  template <typename Bits, typename Encode>
  std::vector<Bits> Draw(std::int64_t count, std::uint64_t stream, Encode encode) const {
    std::vector<Bits> values(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<Bits>(encode(static_cast<float>(NormalAt(seed_ + stream, i))));
    }
    return values;
  }
  // Scales in [0.001, 0.0032], whatever their dtype.
  static float ScaleOf(float normal) { return 0.002f + 0.0004f * std::clamp(normal, -2.5f, 3.0f); }
  void AddBf16Scales(const std::string& name, std::vector<std::int64_t> shape) {
    const std::int64_t count = shape.front() * shape.back();
    tensors_.Add(name, Dtype::kBF16, std::move(shape),
                 Draw<std::uint16_t>(count, 1, [](float x) { return FloatToBf16(ScaleOf(x)); }));
  }
  void AddPowerScales(const std::string& name) {
    tensors_.Add(name, Dtype::kU8, {rows_, Blocks(cols_, 32)},
                 Draw<std::uint8_t>(rows_ * Blocks(cols_, 32), 1,
                                    [](float x) { return 118 + (x > 0) + (x > 1); }));
  }
  void AddE4m3(const std::string& name) {
    tensors_.Add(name, Dtype::kF8E4M3, {rows_, cols_},
                 Draw<std::uint8_t>(rows_ * cols_, 0, [](float x) { return FloatToE4m3(60 * x); }));
  }
  void AddE2m1(const std::string& name) {
    std::vector<std::uint8_t> codes =
        Draw<std::uint8_t>(rows_ * cols_, 0, [](float x) { return FloatToE2m1(2 * x) & 15; });
    for (std::size_t i = 0; i < codes.size() / 2; ++i) {
      codes[i] = static_cast<std::uint8_t>(codes[2 * i] | codes[2 * i + 1] << 4);
    }
    codes.resize(codes.size() / 2);
    tensors_.Add(name, Dtype::kU8, {rows_, cols_ / 2}, codes);
  }
  // Words of eight integers, normal around the middle of their range.
  void AddNibbles(const std::string& name, std::int64_t height, std::int64_t width,
                  std::uint64_t stream) {
    const std::vector<std::uint8_t> codes =
        Draw<std::uint8_t>(height * width * 8, stream,
                           [](float x) { return std::clamp(8.0f + 2.5f * x, 0.0f, 15.0f); });
    std::vector<std::uint32_t> words(codes.size() / 8);
    for (std::size_t i = 0; i < codes.size(); ++i) {
      words[i / 8] |= static_cast<std::uint32_t>(codes[i]) << (4 * (i % 8));
    }
    tensors_.Add(name, Dtype::kI32, {height, width}, words);
  }

  void AddPlain() {
    if (format_ == "f32") {
      tensors_.Add("m.weight", Dtype::kF32, {rows_, cols_},
                   Draw<float>(rows_ * cols_, 0, [](float x) { return x; }));
      return;
    }
    const bool bf16 = format_ == "bf16";
    tensors_.Add("m.weight", bf16 ? Dtype::kBF16 : Dtype::kF16, {rows_, cols_},
                 Draw<std::uint16_t>(rows_ * cols_, 0, [&](float x) {
                   return bf16 ? FloatToBf16(x) : FloatToF16(x);
                 }));
  }
  void AddFp8() {
    AddE4m3("m.weight");
    if (format_ == "fp8-block") {
      AddBf16Scales("m.weight_scale_inv", {Blocks(rows_, 128), Blocks(cols_, 128)});
    } else if (format_ == "mxfp8") {
      AddPowerScales("m.weight_scale");
    } else {
      const std::int64_t scales = format_ == "fp8-channel" ? rows_ : 1;
      AddBf16Scales("m.weight_scale", {scales, 1});
    }
    scheme_ = {.format = format_,
               .weights = {.bits = 8,
                           .span = format_ == "fp8-block" ? ScaleSpan::kBlock : ScaleSpan::kRow,
                           .block = {128, 128}}};
  }
  void AddIntegers() {
    const std::int64_t groups = Blocks(cols_, kIntegerGroup);
    scheme_ = {.format = format_,
               .weights = {.bits = 4,
                           .integer = true,
                           .span = ScaleSpan::kGroup,
                           .block = {1, kIntegerGroup},
                           .symmetric = false}};
    if (format_ == "int-packed") {
      AddNibbles("m.weight_packed", rows_, cols_ / 8, 0);
      AddBf16Scales("m.weight_scale", {rows_, groups});
      tensors_.Add("m.weight_shape", Dtype::kI64, {2}, std::vector<std::int64_t>{rows_, cols_});
      return;
    }
    const bool gptq = format_ == "gptq";
    AddNibbles("m.qweight", gptq ? cols_ / 8 : cols_, gptq ? rows_ : rows_ / 8, 0);
    AddNibbles("m.qzeros", groups, rows_ / 8, 2);
    AddBf16Scales("m.scales", {groups, rows_});
  }
  void AddTensors() {
    if (format_ == "bf16" || format_ == "f16" || format_ == "f32") return AddPlain();
    if (format_.find("fp8") != std::string::npos) return AddFp8();
    if (format_ == "int8") {
      tensors_.Add("m.weight", Dtype::kI8, {rows_, cols_},
                   Draw<std::int8_t>(rows_ * cols_, 0,
                                     [](float x) { return std::clamp(40 * x, -127.0f, 127.0f); }));
      return AddBf16Scales("m.weight_scale", {rows_, 1});
    }
    if (format_ == "nvfp4") {
      AddE2m1("m.weight");
      tensors_.Add("m.weight_scale", Dtype::kF8E4M3, {rows_, Blocks(cols_, 16)},
                   Draw<std::uint8_t>(rows_ * Blocks(cols_, 16), 1,
                                      [](float x) { return FloatToE4m3(1e5f * ScaleOf(x)); }));
      return tensors_.Add("m.weight_scale_2", Dtype::kF32, {1}, std::vector<float>{1.1e-5f});
    }
    if (format_ == "mxfp4") {
      AddE2m1("m.weight_packed");
      return AddPowerScales("m.weight_scale");
    }
    AddIntegers();
  }

  static constexpr std::int64_t kIntegerGroup = 128;
  std::string format_;
  std::int64_t rows_, cols_;
  std::uint64_t seed_;
  FakeCheckpoint tensors_;
  QuantizationScheme scheme_;
  EncodedMatrixPtr matrix_;
};

}  // namespace cacheready
