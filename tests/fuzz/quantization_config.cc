// SPDX-License-Identifier: Apache-2.0
#include "formats/quantization_config.h"

#include <string>

#include "base/error.h"
#include "fuzz/targets.h"

namespace cacheready {
namespace {

// What every accepted config has to be good for.
void Use(const QuantizationConfig& config, std::string_view module) {
  CR_CHECK(!config.method.empty() && !QuantizationText(config).empty(), "a config without a text");
  const QuantizationScheme* scheme = config.FindScheme(module);
  if (scheme != nullptr) {
    const NumberScheme& weights = scheme->weights;
    CR_CHECK(!scheme->format.empty() && !SchemeText(*scheme).empty(), "a scheme of no format");
    CR_CHECK(weights.bits == 4 || weights.bits == 8, "{} bits", weights.bits);
    const bool spans = weights.span == ScaleSpan::kGroup || weights.span == ScaleSpan::kBlock;
    CR_CHECK(!spans || (weights.block.rows > 0 && weights.block.cols > 0), "blocks of {}x{}",
             weights.block.rows, weights.block.cols);
  }
  RequireAgreement(config, module, "nvfp4", "weights");
}

}  // namespace

void FuzzQuantizationConfig(std::span<const std::uint8_t> input) {
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  const std::size_t end = text.find('\0');
  const std::string_view module =
      end == text.npos ? "model.layers.0.mlp.experts.3.up_proj" : text.substr(end + 1);
  try {
    const Json json = ParseJson(text.substr(0, end), "config");
    for (const std::string_view method : {"", "modelopt", "gptq", "awq"}) {
      try {
        Use(ParseQuantizationConfig(json, method, "config"), module);
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
}

}  // namespace cacheready
