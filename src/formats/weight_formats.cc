// SPDX-License-Identifier: Apache-2.0
#include "formats/weight_formats.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace cacheready {
namespace {

// Every name beside a module by which some published format stores (part of) a weight matrix. A
// format recognizes a module only if it accounts for all of them that are there.
constexpr std::array<std::string_view, 24> kWeightSuffixes = {
    ".weight",
    ".weight_scale_inv",
    ".weight_scale",
    ".weight_scale_2",
    ".input_scale",
    ".activation_scale",
    ".weight_packed",
    ".weight_shape",
    ".weight_g_idx",
    ".weight_global_scale",
    ".weight_zero_point",
    ".input_global_scale",
    ".input_zero_point",
    ".qweight",
    ".qzeros",
    ".scales",
    ".g_idx",
    ".blocks",
    "_blocks",
    "_scales",
    ".weight.absmax",
    ".weight.quant_map",
    ".SCB",
    ".weight_format",
};

std::vector<const TensorView*> TensorsOf(const FormatRequest& request, const TensorFinder& find) {
  std::vector<const TensorView*> found;
  for (const std::string_view suffix : kWeightSuffixes) {
    if (const TensorView* tensor = find(request.module + std::string(suffix))) {
      found.push_back(tensor);
    }
  }
  return found;
}

// Exactly these tensors are there.
bool HasOnly(const FormatRequest& request, const TensorFinder& find,
             std::initializer_list<std::string_view> suffixes) {
  const bool all = std::all_of(suffixes.begin(), suffixes.end(), [&](std::string_view suffix) {
    return find(request.module + std::string(suffix)) != nullptr;
  });
  return all && TensorsOf(request, find).size() == suffixes.size();
}

std::vector<std::string> NamesOf(const FormatRequest& request, const TensorFinder& find) {
  std::vector<std::string> names;
  for (const TensorView* tensor : TensorsOf(request, find)) names.push_back(tensor->name);
  return names;
}

template <Dtype kDtype>
bool IsPlain(const FormatRequest& request, const TensorFinder& find) {
  return HasOnly(request, find, {".weight"}) && find(request.module + ".weight")->dtype == kDtype;
}

EncodedMatrixPtr OpenPlain(const FormatRequest& request, const TensorFinder& find) {
  return MakePlainMatrix(*find(request.module + ".weight"));
}

bool IsFp8Block(const FormatRequest& request, const TensorFinder& find) {
  if (!HasOnly(request, find, {".weight", ".weight_scale_inv"})) return false;
  constexpr std::array kScaleDtypes = {Dtype::kBF16, Dtype::kF32, Dtype::kF16, Dtype::kU8,
                                       Dtype::kF8E8M0};
  const Dtype scale = find(request.module + ".weight_scale_inv")->dtype;
  return find(request.module + ".weight")->dtype == Dtype::kF8E4M3 &&
         std::find(kScaleDtypes.begin(), kScaleDtypes.end(), scale) != kScaleDtypes.end();
}

EncodedMatrixPtr OpenFp8Block(const FormatRequest& request, const TensorFinder& find) {
  return MakeFp8BlockMatrix(*find(request.module + ".weight"),
                            *find(request.module + ".weight_scale_inv"), request.fp8_block);
}

constexpr std::array<WeightFormat, 4> kWeightFormats = {{
    {"bf16", false, IsPlain<Dtype::kBF16>, OpenPlain, NamesOf},
    {"f16", false, IsPlain<Dtype::kF16>, OpenPlain, NamesOf},
    {"f32", false, IsPlain<Dtype::kF32>, OpenPlain, NamesOf},
    {"fp8-block", true, IsFp8Block, OpenFp8Block, NamesOf},
}};

std::string KnownFormats() {
  std::string names;
  for (const WeightFormat& format : kWeightFormats) {
    names += (names.empty() ? "" : ", ") + std::string(format.name);
  }
  return names;
}

[[noreturn]] void FailUnknown(const FormatRequest& request,
                              const std::vector<const TensorView*>& tensors) {
  std::string list;
  for (const TensorView* tensor : tensors) {
    list += fmt::format("{}'{}' {} {}", list.empty() ? "" : ", ", tensor->name,
                        DtypeName(tensor->dtype), ShapeText(tensor->shape));
  }
  Fail(
      "{}: weight '{}' is stored in a format that is not supported: {}{}. Known formats: {}",
      tensors.front()->file, request.module, list,
      request.quant_method.empty() ? "" : fmt::format(" (quant_method '{}')", request.quant_method),
      KnownFormats());
}

}  // namespace

std::span<const WeightFormat> WeightFormats() { return kWeightFormats; }

const WeightFormat* FindWeightFormat(const FormatRequest& request, const TensorFinder& find) {
  const std::vector<const TensorView*> tensors = TensorsOf(request, find);
  if (tensors.empty()) return nullptr;
  const WeightFormat* match = nullptr;
  for (const WeightFormat& format : kWeightFormats) {
    if (!format.recognize(request, find)) continue;
    if (match != nullptr) {
      Fail("{}: weight '{}' can be read as {} and as {}: the checkpoint is ambiguous",
           tensors.front()->file, request.module, match->name, format.name);
    }
    match = &format;
  }
  if (match == nullptr) FailUnknown(request, tensors);
  return match;
}

EncodedMatrixPtr OpenWeight(const FormatRequest& request, const TensorFinder& find) {
  const WeightFormat* format = FindWeightFormat(request, find);
  if (format == nullptr) {
    Fail("checkpoint: no weight '{}.weight' (nor its quantized form in any known format: {})",
         request.module, KnownFormats());
  }
  EncodedMatrixPtr matrix = format->open(request, find);
  const bool rows_differ = request.rows >= 0 && matrix->rows() != request.rows;
  const bool cols_differ = request.cols >= 0 && matrix->cols() != request.cols;
  if (rows_differ || cols_differ) {
    const TensorView& tensor = *TensorsOf(request, find).front();
    Fail("{}: tensor '{}' has shape {}, expected [{}, {}] from the config", tensor.file,
         tensor.name, ShapeText(tensor.shape), request.rows < 0 ? matrix->rows() : request.rows,
         request.cols < 0 ? matrix->cols() : request.cols);
  }
  return matrix;
}

}  // namespace cacheready
