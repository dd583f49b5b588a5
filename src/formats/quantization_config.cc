// SPDX-License-Identifier: Apache-2.0
#include "formats/quantization_config.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "formats/quantization_methods.h"

namespace cacheready {
namespace {

// One line for every quantizer whose configs are read, by the name under quant_method.
struct Method {
  std::string_view name;
  void (*read)(const Json& config, QuantizationConfig& result);
};
constexpr Method kMethods[] = {
    {"fp8", ReadFp8Config},
    {"mxfp4", ReadMxfp4Config},
    {"modelopt", ReadModeloptConfig},
    {"modelopt_fp4", ReadModeloptConfig},
    {"modelopt_mixed", ReadModeloptConfig},
    {"modelopt_mxfp8", ReadModeloptConfig},
    {"compressed-tensors", ReadCompressedTensorsConfig},
    {"gptq", ReadGptqConfig},
    {"awq", ReadAwqConfig},
    {"auto-round", ReadAutoRoundConfig},
};

const Json kEmptyObject = Json::object();

std::string GranularityText(const NumberScheme& numbers) {
  switch (numbers.span) {
    case ScaleSpan::kTensor:
      return "per tensor";
    case ScaleSpan::kRow:
      return "per token";
    default:
      return fmt::format("per token {} columns", numbers.block.cols);
  }
}

}  // namespace

std::string SchemeText(const QuantizationScheme& scheme) {
  std::string text = fmt::format("w{}a{}", scheme.weights.bits, scheme.activations.bits);
  if (scheme.activations.bits == 16) return text;
  text += fmt::format("{} {} {}", scheme.activations.integer ? " int" : "",
                      scheme.activations.dynamic ? "dynamic" : "static",
                      GranularityText(scheme.activations));
  if (scheme.activations.global) text += ", static per tensor";
  return text;
}

const QuantizationScheme* QuantizationConfig::FindScheme(std::string_view module) const {
  if (excluded.Find(module) != nullptr) return nullptr;
  for (const QuantizedGroup& group : groups) {
    if (group.targets.Find(module) != nullptr) return &group.scheme;
  }
  for (const QuantizedGroup& group : groups) {
    if (group.rest) return &group.scheme;
  }
  return nullptr;
}

QuantizationConfig ParseQuantizationConfig(const Json& config, std::string_view method,
                                           std::string_view what) {
  if (!config.is_object()) Fail("{}: is a JSON {}, expected an object", what, config.type_name());
  QuantizationConfig result{.what = std::string(what),
                            .method = GetString(config, "quant_method", what, method)};
  const auto* known = std::find_if(std::begin(kMethods), std::end(kMethods),
                                   [&](const Method& m) { return m.name == result.method; });
  if (known == std::end(kMethods)) {
    std::vector<std::string_view> names;
    for (const Method& m : kMethods) names.push_back(m.name);
    RefuseValue(what, "quant_method", result.method, fmt::format("{}", fmt::join(names, ", ")));
  }
  known->read(config, result);
  return result;
}

std::string QuantizationText(const QuantizationConfig& config) {
  if (config.method.empty()) return "none";
  std::vector<std::string> schemes;
  for (const QuantizedGroup& group : config.groups) {
    const std::string text = SchemeText(group.scheme);
    if (std::find(schemes.begin(), schemes.end(), text) == schemes.end()) schemes.push_back(text);
  }
  std::string text = fmt::format("{}: {}", config.method, fmt::join(schemes, "; "));
  if (!config.kv_cache.empty()) text += fmt::format("; KV cache {}", config.kv_cache);
  return text;
}

void RequireAgreement(const QuantizationConfig& config, std::string_view module,
                      std::string_view format, std::string_view file) {
  if (const std::string* entry = config.excluded.Find(module)) {
    Fail(
        "{}: '{}' is stored as {}, and {} lists it ('{}') as not quantized: an engine that goes by "
        "the config cannot load it",
        file, module, format, config.what, *entry);
  }
  const QuantizationScheme* scheme = config.FindScheme(module);
  if (scheme == nullptr || format.starts_with(scheme->format)) return;
  Fail("{}: '{}' is stored as {}, and {} says {} ({})", file, module, format, config.what,
       scheme->format, SchemeText(*scheme));
}

std::vector<std::string> ReadTexts(const Json& object, std::string_view key,
                                   std::string_view what) {
  std::vector<std::string> texts;
  const Json* array = FindMember(object, key);
  if (array == nullptr) return texts;
  if (!array->is_array()) Fail("{}: key '{}' is no array", what, key);
  for (const Json& entry : *array) {
    if (!entry.is_string()) Fail("{}: key '{}' holds {}, no string", what, key, entry.dump());
    texts.push_back(entry.get<std::string>());
  }
  return texts;
}

BlockShape ReadBlock(const Json& object, std::string_view key, std::string_view what) {
  constexpr std::int64_t kLargest = 1 << 20;
  const Json* pair = FindMember(object, key);
  if (pair == nullptr) return {};
  const auto is_size = [](const Json& value) {
    return value.is_number_integer() && value.get<double>() >= 1 && value.get<double>() <= kLargest;
  };
  if (!pair->is_array() || pair->size() != 2 || !is_size(pair->at(0)) || !is_size(pair->at(1))) {
    Fail("{}: key '{}' is no pair of positive numbers", what, key);
  }
  return {pair->at(0).get<std::int64_t>(), pair->at(1).get<std::int64_t>()};
}

const Json& ReadObject(const Json& object, std::string_view key, std::string_view what) {
  const Json* found = FindMember(object, key);
  if (found == nullptr) return kEmptyObject;
  if (!found->is_object()) Fail("{}: key '{}' is no object", what, key);
  return *found;
}

std::int64_t ReadGroupSize(const Json& object, std::string_view key, std::string_view what) {
  const std::int64_t size = GetInt(object, key, what, -1);
  if (size < -1) Fail("{}: key '{}' is {}, expected a positive number or -1", what, key, size);
  return size < 1 ? 0 : size;
}

void RefuseValue(std::string_view what, std::string_view key, std::string_view found,
                 std::string_view known) {
  Fail("{}: key '{}' is '{}', and only these are implemented: {}", what, key, found, known);
}

}  // namespace cacheready
