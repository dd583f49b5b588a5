// quant_method "gptq" (GPTQModel, AutoGPTQ), "awq" (AutoAWQ) and "auto-round", which stores its
// weights in the layout of one of the two.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/error.h"
#include "formats/quantization_methods.h"

namespace cacheready {
namespace {

NumberScheme Integers(std::int64_t bits, std::int64_t group_size, bool symmetric) {
  return {.bits = static_cast<int>(bits),
          .integer = true,
          .span = group_size > 0 ? ScaleSpan::kGroup : ScaleSpan::kRow,
          .block = {group_size > 0 ? 1 : 0, group_size},
          .symmetric = symmetric};
}

std::int64_t ReadBits(const Json& config, std::string_view key, std::int64_t fallback,
                      std::string_view what) {
  const std::int64_t bits = GetInt(config, key, what, fallback);
  if (bits != 4 && bits != 8) RefuseValue(what, key, fmt::format("{}", bits), "4, 8");
  return bits;
}

// symmetric only where the config says so: zero points are read from the file either way.
QuantizationScheme GptqScheme(const Json& config, const QuantizationScheme& fallback,
                              std::string_view what) {
  const NumberScheme& numbers = fallback.weights;
  const std::int64_t group_size = FindMember(config, "group_size") != nullptr
                                      ? ReadGroupSize(config, "group_size", what)
                                      : numbers.block.cols;
  QuantizationScheme scheme = fallback;
  scheme.weights = Integers(ReadBits(config, "bits", numbers.bits, what), group_size,
                            GetBool(config, "sym", what, numbers.symmetric));
  return scheme;
}

// "-:expression" leaves modules as they are, "+:expression" or an expression alone gives them other
// values.
void AddOverrides(const Json& overrides, const QuantizationScheme& fallback,
                  QuantizationConfig& result) {
  for (const auto& [entry, values] : overrides.items()) {
    const std::string what = fmt::format("{}, dynamic '{}'", result.what, entry);
    if (entry.starts_with("-:")) {
      result.excluded.AddRegex(entry.substr(2), what);
      continue;
    }
    if (!values.is_object()) Fail("{}: is no object", what);
    QuantizedGroup group{.scheme = GptqScheme(values, fallback, what)};
    group.targets.AddRegex(entry.starts_with("+:") ? entry.substr(2) : entry, what);
    result.groups.push_back(std::move(group));
  }
}

// Names, some of them expressions; bits 16 leaves a module as it is.
void AddExtraConfig(const Json& extra, const QuantizationScheme& fallback,
                    QuantizationConfig& result) {
  for (const auto& [entry, values] : extra.items()) {
    const std::string what = fmt::format("{}, extra_config '{}'", result.what, entry);
    if (!values.is_object()) Fail("{}: is no object", what);
    const auto add = [&entry = entry, &what](NamePatterns& patterns) {
      const bool is_regex = entry.find_first_of("*+?\\^$|()[]") != std::string::npos;
      if (is_regex) return patterns.AddRegex(entry, what);
      patterns.AddTree(entry);
    };
    if (GetInt(values, "bits", what, fallback.weights.bits) >= 16) {
      add(result.excluded);
      continue;
    }
    QuantizedGroup group{.scheme = GptqScheme(values, fallback, what)};
    add(group.targets);
    result.groups.push_back(std::move(group));
  }
}

void AddRest(const QuantizationScheme& scheme, QuantizationConfig& result) {
  result.groups.push_back({.scheme = scheme, .rest = true});
}

std::string Lowercase(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text;
}

}  // namespace

void ReadGptqConfig(const Json& config, QuantizationConfig& result) {
  const std::string_view what = result.what;
  const std::string layout =
      GetString(config, "checkpoint_format", what, GetString(config, "format", what, "gptq"));
  if (layout != "gptq" && layout != "gptq_v2") {
    RefuseValue(what, "checkpoint_format", layout, "gptq, gptq_v2");
  }
  if (const std::string pack = GetString(config, "pack_dtype", what, "int32"); pack != "int32") {
    RefuseValue(what, "pack_dtype", pack, "int32");
  }
  QuantizationScheme scheme{.format = "gptq", .weights = Integers(4, 128, false)};
  scheme.zeros_minus_one = layout == "gptq";
  scheme = GptqScheme(config, scheme, what);
  AddOverrides(ReadObject(config, "dynamic", what), scheme, result);
  AddRest(scheme, result);
}

void ReadAwqConfig(const Json& config, QuantizationConfig& result) {
  const std::string_view what = result.what;
  const std::string version = Lowercase(GetString(config, "version", what, "gemm"));
  if (version != "gemm") RefuseValue(what, "version", version, "gemm");
  const std::int64_t bits = GetInt(config, "bits", what, GetInt(config, "w_bit", what, 4));
  if (bits != 4) RefuseValue(what, "bits", fmt::format("{}", bits), "4");
  if (!GetBool(config, "zero_point", what, true)) {
    RefuseValue(what, "zero_point", "false", "true");
  }
  const char* key = FindMember(config, "group_size") != nullptr ? "group_size" : "q_group_size";
  AddRest({.format = "awq", .weights = Integers(4, ReadGroupSize(config, key, what), false)},
          result);
  for (const std::string& entry : ReadTexts(config, "modules_to_not_convert", what)) {
    result.excluded.AddText(entry);
  }
}

void ReadAutoRoundConfig(const Json& config, QuantizationConfig& result) {
  const std::string_view what = result.what;
  if (const std::string type = GetString(config, "data_type", what, "int"); type != "int") {
    RefuseValue(what, "data_type", type, "int");
  }
  const std::string packing = GetString(config, "packing_format", what, "auto_round:auto_gptq");
  const bool awq = packing.ends_with("auto_awq");
  if (!awq && !packing.ends_with("auto_gptq")) {
    RefuseValue(what, "packing_format", packing,
                "auto_round:auto_gptq, auto_round:auto_awq, auto_gptq, auto_awq");
  }
  QuantizationScheme scheme{.format = awq ? "awq" : "gptq", .weights = Integers(4, 128, false)};
  scheme.zeros_minus_one = !awq;
  scheme = GptqScheme(config, scheme, what);
  AddExtraConfig(ReadObject(config, "extra_config", what), scheme, result);
  AddRest(scheme, result);
}

}  // namespace cacheready
