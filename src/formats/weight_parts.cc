// SPDX-License-Identifier: Apache-2.0
#include "formats/weight_parts.h"

#include <algorithm>
#include <array>
#include <span>

#include "base/error.h"

namespace cacheready {
namespace {

// Every name beside a module by which some published format stores (part of) a weight matrix, or
// changes what it is multiplied with.
constexpr std::array<std::string_view, 24> kModuleSuffixes = {
    ".weight",
    ".weight_scale_inv",
    ".weight_scale",
    ".weight_scale_2",
    ".input_scale",
    ".activation_scale",
    ".pre_quant_scale",
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
    ".weight.absmax",
    ".weight.quant_map",
    ".SCB",
    ".weight_format",
    ".svdquant_lora_a",
};

// The same for weights of all experts stored together.
constexpr std::array<std::string_view, 10> kFusedSuffixes = {
    "",
    "_blocks",
    "_scales",
    "_scale",
    "_scale_inv",
    "_weight_scale",
    "_weight_scale_inv",
    "_weight_scale_2",
    "_input_scale",
    "_packed",
};

std::span<const std::string_view> SuffixesOf(const FormatRequest& request) {
  if (request.slice) return kFusedSuffixes;
  return kModuleSuffixes;
}

}  // namespace

WeightParts::WeightParts(const FormatRequest& request, const TensorFinder& find) {
  std::string name = request.module;
  for (const std::string_view suffix : SuffixesOf(request)) {
    name.resize(request.module.size());
    name += suffix;
    if (const TensorView* tensor = find(name)) parts_.emplace_back(suffix, tensor);
  }
}

const TensorView* WeightParts::Find(std::string_view suffix) const {
  for (const auto& [name, tensor] : parts_) {
    if (name == suffix) return tensor;
  }
  return nullptr;
}

const TensorView& WeightParts::Get(std::string_view suffix) const {
  const TensorView* tensor = Find(suffix);
  CR_CHECK(tensor != nullptr, "a format opens '{}' without having recognized it", suffix);
  return *tensor;
}

bool WeightParts::Are(std::initializer_list<std::string_view> required,
                      std::initializer_list<std::string_view> optional) const {
  const auto is_there = [&](std::string_view suffix) { return Find(suffix) != nullptr; };
  if (!std::all_of(required.begin(), required.end(), is_there)) return false;
  const auto extra = std::count_if(optional.begin(), optional.end(), is_there);
  return parts_.size() == required.size() + static_cast<std::size_t>(extra);
}

std::vector<std::string> WeightParts::Names() const {
  std::vector<std::string> names;
  for (const auto& [suffix, tensor] : parts_) names.push_back(tensor->name);
  return names;
}

std::string WeightParts::Text() const {
  std::string text;
  for (const auto& [suffix, tensor] : parts_) {
    text += fmt::format("{}'{}' {} {}", text.empty() ? "" : ", ", tensor->name,
                        DtypeName(tensor->dtype), ShapeText(tensor->shape));
  }
  return text;
}

}  // namespace cacheready
