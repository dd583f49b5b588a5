// SPDX-License-Identifier: Apache-2.0
#include "model/checkpoint_quantization.h"

#include <optional>

namespace cacheready {

QuantizationConfig ReadQuantization(const Checkpoint& checkpoint) {
  constexpr std::string_view kKey = "quantization_config";
  for (const Json* config : {&checkpoint.config(), &checkpoint.text_config()}) {
    if (const Json* found = FindMember(*config, kKey)) {
      return ParseQuantizationConfig(
          *found, "", (checkpoint.folder() / "config.json").string() + ", quantization_config");
    }
  }
  for (const auto& [name, method] : kQuantizationFiles) {
    if (const std::optional<Json> file = checkpoint.FindJsonFile(name)) {
      return ParseQuantizationConfig(*file, method, (checkpoint.folder() / name).string());
    }
  }
  return {};
}

}  // namespace cacheready
