// quant_method "compressed-tensors": groups of modules with a scheme each, and a list of modules to
// ignore.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/error.h"
#include "formats/quantization_methods.h"

namespace cacheready {
namespace {

constexpr std::string_view kFormats =
    "float-quantized, int-quantized, naive-quantized, pack-quantized, nvfp4-pack-quantized, "
    "mxfp4-pack-quantized, mxfp8-quantized, and mixed-precision of these";

// Entries are classes of modules ("Linear"), names, or "re:" and an expression.
bool IsClass(const std::string& entry) {
  return !entry.empty() && entry[0] >= 'A' && entry[0] <= 'Z';
}

void AddNames(const std::string& entry, std::string_view what, NamePatterns& patterns) {
  if (entry.starts_with("re:")) return patterns.AddRegex(entry.substr(3), what);
  patterns.AddName(entry);
}

bool ReadDynamic(const Json& numbers, std::string_view what) {
  const Json* dynamic = FindMember(numbers, "dynamic");
  if (dynamic == nullptr) return false;
  if (dynamic->is_boolean()) return dynamic->get<bool>();
  // NVFP4: scales of groups are dynamic, the one of the tensor is static.
  if (dynamic->is_string() && dynamic->get<std::string>() == "local") return true;
  RefuseValue(what, "dynamic", dynamic->dump(), "true, false, \"local\"");
}

ScaleSpan ReadSpan(const Json& numbers, std::int64_t group_size, std::string_view what) {
  const std::string strategy =
      GetString(numbers, "strategy", what, group_size > 0 ? "group" : "tensor");
  if (strategy == "tensor") return ScaleSpan::kTensor;
  if (strategy == "channel" || strategy == "token") return ScaleSpan::kRow;
  if (strategy == "group" || strategy == "tensor_group") return ScaleSpan::kGroup;
  if (strategy == "block") return ScaleSpan::kBlock;
  RefuseValue(what, "strategy", strategy, "tensor, channel, token, group, tensor_group, block");
}

NumberScheme ReadNumbers(const Json& numbers, std::string_view what) {
  const std::string type = GetString(numbers, "type", what, "int");
  if (type != "int" && type != "float") RefuseValue(what, "type", type, "int, float");
  const std::int64_t bits = GetInt(numbers, "num_bits", what, 8);
  if (bits != 4 && bits != 8) RefuseValue(what, "num_bits", fmt::format("{}", bits), "4, 8");
  const std::int64_t group_size = ReadGroupSize(numbers, "group_size", what);
  NumberScheme scheme{.bits = static_cast<int>(bits),
                      .integer = type == "int",
                      .dynamic = ReadDynamic(numbers, what),
                      .span = ReadSpan(numbers, group_size, what),
                      .block = {},
                      .symmetric = GetBool(numbers, "symmetric", what, true),
                      .global = GetString(numbers, "strategy", what, "") == "tensor_group"};
  if (scheme.span == ScaleSpan::kGroup) {
    if (group_size == 0) Fail("{}: groups without a 'group_size'", what);
    scheme.block = {1, group_size};
  }
  if (scheme.span == ScaleSpan::kBlock) {
    scheme.block = ReadBlock(numbers, "block_structure", what);
    if (scheme.block.rows == 0) Fail("{}: blocks without a 'block_structure'", what);
  }
  return scheme;
}

std::string Fp8Format(const NumberScheme& weights) {
  switch (weights.span) {
    case ScaleSpan::kTensor:
      return "fp8-tensor";
    case ScaleSpan::kRow:
      return "fp8-channel";
    case ScaleSpan::kBlock:
      return "fp8-block";
    default:
      return "mxfp8";
  }
}

std::string FormatOf(const std::string& format, const NumberScheme& weights,
                     std::string_view what) {
  if (format == "pack-quantized" && weights.integer) return "int-packed";
  if (format == "nvfp4-pack-quantized") return "nvfp4";
  if (format == "mxfp4-pack-quantized") return "mxfp4";
  if (format == "mxfp8-quantized") return "mxfp8";
  const bool plain_codes =
      format == "float-quantized" || format == "int-quantized" || format == "naive-quantized";
  if (plain_codes && weights.bits == 8) return weights.integer ? "int8" : Fp8Format(weights);
  RefuseValue(what, "format", format, kFormats);
}

// What stands beside the groups and would change the weights or what they are multiplied with.
void RefuseOthers(const Json& config, std::string_view what) {
  if (!ReadObject(ReadObject(config, "transform_config", what), "config_groups", what).empty()) {
    Fail(
        "{}: 'transform_config' turns weights and activations while serving, which is not "
        "implemented",
        what);
  }
  const Json& sparsity = ReadObject(config, "sparsity_config", what);
  const std::string format = GetString(sparsity, "format", what, "dense");
  if (format != "dense") RefuseValue(what, "sparsity_config.format", format, "dense");
}

void AddGroup(const Json& group, const std::string& default_format, const std::string& what,
              QuantizationConfig& result) {
  if (!group.is_object()) Fail("{}: is no object", what);
  if (FindMember(group, "weights") == nullptr) return;  // only its activations are quantized
  QuantizedGroup added;
  const std::string numbers = what + ", weights";
  added.scheme.weights = ReadNumbers(ReadObject(group, "weights", what), numbers);
  if (FindMember(group, "input_activations") != nullptr) {
    added.scheme.activations =
        ReadNumbers(ReadObject(group, "input_activations", what), what + ", input_activations");
  }
  added.scheme.format =
      FormatOf(GetString(group, "format", what, default_format), added.scheme.weights, what);
  for (const std::string& target : ReadTexts(group, "targets", what)) {
    if (IsClass(target)) {
      added.rest = true;
    } else {
      AddNames(target, what, added.targets);
    }
  }
  result.groups.push_back(std::move(added));
}

}  // namespace

void ReadCompressedTensorsConfig(const Json& config, QuantizationConfig& result) {
  RefuseOthers(config, result.what);
  const std::string format = GetString(config, "format", result.what, "");
  for (const auto& [name, group] : ReadObject(config, "config_groups", result.what).items()) {
    AddGroup(group, format, fmt::format("{}, config_groups '{}'", result.what, name), result);
  }
  for (const std::string& entry : ReadTexts(config, "ignore", result.what)) {
    if (!IsClass(entry)) AddNames(entry, result.what, result.excluded);
  }
  const Json& cache = ReadObject(config, "kv_cache_scheme", result.what);
  if (cache.empty()) return;
  result.kv_cache = fmt::format("{}{}", GetString(cache, "type", result.what, "float"),
                                GetInt(cache, "num_bits", result.what, 8));
}

}  // namespace cacheready
