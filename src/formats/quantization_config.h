// What a checkpoint's config says of how it is quantized: quantization_config of config.json, or
// the file that a quantizer leaves beside it. It is read once, to be checked against the tensors,
// which alone decide how a weight is read, and to be shown and served by.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "formats/name_patterns.h"
#include "formats/quantization_scheme.h"

namespace cacheready {

// Modules that share a scheme.
struct QuantizedGroup {
  QuantizationScheme scheme;
  NamePatterns targets = {};
  bool rest = false;  // and all modules that no group names
};

struct QuantizationConfig {
  std::string what;    // where it was read, for messages
  std::string method;  // "fp8", "modelopt", ...; "" = the checkpoint is not quantized
  std::vector<QuantizedGroup> groups = {};  // the first that names a module counts
  NamePatterns excluded = {};
  std::string kv_cache = {};  // "fp8", ... if the cache of keys and values is quantized

  // The scheme of a module, nullptr if it is excluded or not targeted. Valid while this lives.
  const QuantizationScheme* FindScheme(std::string_view module) const;
};

// Fails, naming `what` and the key, on an unknown quant_method or format (with the known ones), and
// on values that change the mathematics and are not implemented. `method` is what a file without
// quant_method is taken for.
QuantizationConfig ParseQuantizationConfig(const Json& config, std::string_view method,
                                           std::string_view what);

// Files beside config.json that hold a quantization config where config.json has none, and the
// method that each is written by.
struct QuantizationFile {
  std::string_view name, method;
};
inline constexpr QuantizationFile kQuantizationFiles[] = {
    {"hf_quant_config.json", "modelopt"},
    {"quantize_config.json", "gptq"},
    {"quant_config.json", "awq"},
};

// "fp8: w8a8 dynamic per token 128 columns"; every scheme once; "none" if not quantized.
std::string QuantizationText(const QuantizationConfig& config);

// Fails if a weight stored in `format` (name of a quantized WeightFormat, in file `file`) is
// excluded by the config or has a scheme of another format. A weight that the config leaves out and
// the file holds quantized, or the other way round, is none of these: lists are known to be
// incomplete.
void RequireAgreement(const QuantizationConfig& config, std::string_view module,
                      std::string_view format, std::string_view file);

}  // namespace cacheready
