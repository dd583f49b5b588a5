// SPDX-License-Identifier: Apache-2.0
#include "formats/weight_formats.h"

#include <array>

#include "base/error.h"
#include "formats/format_files.h"
#include "formats/weight_parts.h"

namespace cacheready {
namespace {

constexpr std::array<WeightFormat, 13> kWeightFormats = {{
    {"bf16", false, IsBf16, OpenPlain},
    {"f16", false, IsF16, OpenPlain},
    {"f32", false, IsF32, OpenPlain},
    {"fp8-block", true, IsFp8Block, OpenFp8},
    {"fp8-channel", true, IsFp8Channel, OpenFp8},
    {"fp8-tensor", true, IsFp8Tensor, OpenFp8},
    {"mxfp8", true, IsMxfp8, OpenFp8},
    {"int8", true, IsInt8, OpenInt8},
    {"nvfp4", true, IsNvfp4, OpenNvfp4},
    {"mxfp4", true, IsMxfp4, OpenMxfp4},
    {"int-packed", true, IsPackedInt, OpenPackedInt},
    {"gptq", true, IsGptq, OpenGptq},
    {"awq", true, IsAwq, OpenAwq},
}};

std::string KnownFormats() {
  std::string names;
  for (const WeightFormat& format : kWeightFormats) {
    names += (names.empty() ? "" : ", ") + std::string(format.name);
  }
  return names;
}

}  // namespace

std::span<const WeightFormat> WeightFormats() { return kWeightFormats; }

const WeightFormat* FindWeightFormat(const FormatRequest& request, const WeightParts& parts) {
  if (parts.empty()) return nullptr;
  const WeightFormat* match = nullptr;
  for (const WeightFormat& format : kWeightFormats) {
    if (!format.recognize(request, parts)) continue;
    if (match != nullptr) {
      Fail("{}: weight '{}' can be read as {} and as {}: the checkpoint is ambiguous",
           parts.first().file, request.module, match->name, format.name);
    }
    match = &format;
  }
  if (match != nullptr) return match;
  Fail(
      "{}: weight '{}' is stored in a format that is not supported: {}{}. Known formats: {}",
      parts.first().file, request.module, parts.Text(),
      request.quant_method.empty() ? "" : fmt::format(" (quant_method '{}')", request.quant_method),
      KnownFormats());
}

const WeightFormat* FindWeightFormat(const FormatRequest& request, const TensorFinder& find) {
  return FindWeightFormat(request, WeightParts(request, find));
}

std::vector<std::string> WeightTensorNames(const FormatRequest& request, const TensorFinder& find) {
  return WeightParts(request, find).Names();
}

std::vector<std::int64_t> FindFusedShape(const FormatRequest& request, const TensorFinder& find) {
  const FormatRequest first{.module = request.module, .slice = PlainSlice{}};
  const WeightParts parts(first, find);
  const WeightFormat* format = FindWeightFormat(first, parts);
  if (format == nullptr) return {};
  const std::vector<std::int64_t>& stored = parts.first().shape;
  if (!format->quantized) return stored;
  const EncodedMatrixPtr expert = format->open(first, parts);
  return {stored[0], expert->rows(), expert->cols()};
}

EncodedMatrixPtr OpenWeight(const FormatRequest& request, const TensorFinder& find) {
  return OpenWeight(request, WeightParts(request, find));
}

EncodedMatrixPtr OpenWeight(const FormatRequest& request, const WeightParts& parts) {
  const WeightFormat* format = FindWeightFormat(request, parts);
  if (format == nullptr) {
    Fail("checkpoint: no weight '{}{}' (nor its quantized form in any known format: {})",
         request.module, request.slice ? "" : ".weight", KnownFormats());
  }
  EncodedMatrixPtr matrix = format->open(request, parts);
  const bool rows_differ = request.rows >= 0 && matrix->rows() != request.rows;
  const bool cols_differ = request.cols >= 0 && matrix->cols() != request.cols;
  if (rows_differ || cols_differ) {
    Fail("{}: {} hold a weight [{}, {}], expected [{}, {}] from the config", parts.first().file,
         parts.Text(), matrix->rows(), matrix->cols(),
         request.rows < 0 ? matrix->rows() : request.rows,
         request.cols < 0 ? matrix->cols() : request.cols);
  }
  return matrix;
}

}  // namespace cacheready
