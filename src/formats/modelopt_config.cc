// quant_method "modelopt", in config.json or as hf_quant_config.json, where the same keys lie under
// "quantization" and the list of exclusions is called exclude_modules.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "formats/quantization_methods.h"

namespace cacheready {
namespace {

constexpr NumberScheme kFull = {};
constexpr NumberScheme kFp8Static = {.bits = 8};
constexpr NumberScheme kFp8Token = {.bits = 8, .dynamic = true, .span = ScaleSpan::kRow};
constexpr NumberScheme kFp8Channel = {.bits = 8, .span = ScaleSpan::kRow};
constexpr NumberScheme kFp8Block = {.bits = 8, .span = ScaleSpan::kBlock, .block = {128, 128}};
constexpr NumberScheme kMxfp8 = {.bits = 8, .span = ScaleSpan::kGroup, .block = {1, 32}};
constexpr NumberScheme kMxfp8Token = {
    .bits = 8, .dynamic = true, .span = ScaleSpan::kGroup, .block = {1, 32}};
constexpr NumberScheme kNvfp4 = {
    .bits = 4, .span = ScaleSpan::kGroup, .block = {1, 16}, .global = true};
constexpr NumberScheme kNvfp4Token = {
    .bits = 4, .dynamic = true, .span = ScaleSpan::kGroup, .block = {1, 16}, .global = true};
constexpr NumberScheme kMxfp4 = {.bits = 4, .span = ScaleSpan::kGroup, .block = {1, 32}};
constexpr NumberScheme kInt8 = {.bits = 8, .integer = true, .span = ScaleSpan::kRow};

// One line for every quant_algo. Left out, because their weights or their inputs are prepared in
// other ways (pre_quant_scale, low-rank parts, packed along the output): W4A16_AWQ, W4A8_AWQ,
// NVFP4_AWQ, NVFP4_SVD, W8A8_SQ_PER_CHANNEL.
struct Algorithm {
  std::string_view name, format;
  NumberScheme weights, activations;
};
constexpr Algorithm kAlgorithms[] = {
    {"FP8", "fp8-tensor", kFp8Static, kFp8Static},
    {"FP8_PER_CHANNEL_PER_TOKEN", "fp8-channel", kFp8Channel, kFp8Token},
    {"FP8_PB_WO", "fp8-block", kFp8Block, kFull},
    {"MXFP8", "mxfp8", kMxfp8, kMxfp8Token},
    {"NVFP4", "nvfp4", kNvfp4, kNvfp4Token},
    {"W4A16_NVFP4", "nvfp4", kNvfp4, kFull},
    {"W4A8_NVFP4_FP8", "nvfp4", kNvfp4, kFp8Static},
    {"MXFP4", "mxfp4", kMxfp4, kFull},
    {"W4A8_MXFP4_FP8", "mxfp4", kMxfp4, kFp8Static},
    {"W8A16", "int8", kInt8, kFull},
};
constexpr std::string_view kMixed = "MIXED_PRECISION";

QuantizationScheme SchemeOf(const std::string& name, std::string_view what) {
  const auto* found =
      std::find_if(std::begin(kAlgorithms), std::end(kAlgorithms),
                   [&](const Algorithm& algorithm) { return algorithm.name == name; });
  if (found == std::end(kAlgorithms)) {
    std::vector<std::string_view> names = {kMixed};
    for (const Algorithm& algorithm : kAlgorithms) names.push_back(algorithm.name);
    RefuseValue(what, "quant_algo", name, fmt::format("{}", fmt::join(names, ", ")));
  }
  return {.format = std::string(found->format),
          .weights = found->weights,
          .activations = found->activations};
}

// Groups whose scales span other numbers of columns than the format has are not implemented.
void CheckGroupSize(const Json& config, const QuantizationScheme& scheme, std::string_view what) {
  const std::int64_t size = ReadGroupSize(config, "group_size", what);
  if (size == 0 || scheme.weights.span != ScaleSpan::kGroup) return;
  if (size != scheme.weights.block.cols) {
    Fail("{}: key 'group_size' is {}, and {} has groups of {}", what, size, scheme.format,
         scheme.weights.block.cols);
  }
}

void AddMixed(const Json& config, QuantizationConfig& result) {
  std::map<std::string, NamePatterns> modules_of;  // by quant_algo
  const Json& layers = ReadObject(config, "quantized_layers", result.what);
  for (const auto& [module, layer] : layers.items()) {
    const std::string what = fmt::format("{}, quantized_layers '{}'", result.what, module);
    if (!layer.is_object()) Fail("{}: is no object", what);
    const std::string algorithm = GetString(layer, "quant_algo", what);
    CheckGroupSize(layer, SchemeOf(algorithm, what), what);
    modules_of[algorithm].AddGlob(module);
  }
  for (auto& [algorithm, modules] : modules_of) {
    result.groups.push_back({SchemeOf(algorithm, result.what), std::move(modules), false});
  }
}

std::string KvCache(const Json& config, std::string_view what) {
  const Json* scheme = FindMember(config, "kv_cache_scheme");
  if (scheme == nullptr) return GetString(config, "kv_cache_quant_algo", what, "");
  if (scheme->is_string()) return scheme->get<std::string>();
  if (!scheme->is_object()) Fail("{}: key 'kv_cache_scheme' is no object", what);
  return fmt::format("{}{}", GetString(*scheme, "type", what, "float"),
                     GetInt(*scheme, "num_bits", what, 8));
}

}  // namespace

void ReadModeloptConfig(const Json& config, QuantizationConfig& result) {
  const Json* nested = FindMember(config, "quantization");
  if (nested != nullptr) {
    if (!nested->is_object()) Fail("{}: key 'quantization' is no object", result.what);
    return ReadModeloptConfig(*nested, result);
  }
  for (const char* key : {"exclude_modules", "ignore"}) {
    for (const std::string& glob : ReadTexts(config, key, result.what)) {
      result.excluded.AddGlob(glob);
    }
  }
  result.kv_cache = KvCache(config, result.what);
  const std::string algorithm = GetString(config, "quant_algo", result.what, "");
  if (algorithm == kMixed) return AddMixed(config, result);
  if (algorithm.empty() && !result.kv_cache.empty()) return;  // nothing else is quantized
  QuantizedGroup group{.scheme = SchemeOf(algorithm, result.what), .rest = true};
  CheckGroupSize(config, group.scheme, result.what);
  result.groups.push_back(std::move(group));
}

}  // namespace cacheready
