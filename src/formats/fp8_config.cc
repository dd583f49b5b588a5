// quant_method "fp8" (DeepSeek, Qwen, MiniMax: E4M3 in blocks or per tensor) and "mxfp4" (gpt-oss).
// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "formats/quantization_methods.h"

namespace cacheready {
namespace {

// Entries are whole names, names of trees, or the last parts of names ("gate", "lm_head"), and may
// hold stars.
void Exclude(const Json& config, QuantizationConfig& result) {
  for (const char* key : {"modules_to_not_convert", "ignored_layers"}) {
    for (const std::string& entry : ReadTexts(config, key, result.what)) {
      result.excluded.AddGlob(entry);
      result.excluded.AddEnding(entry);
    }
  }
}

}  // namespace

void ReadFp8Config(const Json& config, QuantizationConfig& result) {
  const std::string_view what = result.what;
  if (const std::string number = GetString(config, "fmt", what, "e4m3"); number != "e4m3") {
    RefuseValue(what, "fmt", number, "e4m3");
  }
  const std::string scheme = GetString(config, "activation_scheme", what, "dynamic");
  if (scheme != "dynamic" && scheme != "static") {
    RefuseValue(what, "activation_scheme", scheme, "dynamic, static");
  }
  const BlockShape block = ReadBlock(config, "weight_block_size", what);
  const bool blocks = block.rows > 0;
  const bool dynamic = scheme == "dynamic";

  QuantizedGroup group;
  group.scheme = {.format = blocks ? "fp8-block" : "fp8",
                  .weights = {.bits = 8,
                              .span = blocks ? ScaleSpan::kBlock : ScaleSpan::kTensor,
                              .block = block},
                  .activations = {.bits = 8,
                                  .dynamic = dynamic,
                                  .span = !dynamic ? ScaleSpan::kTensor
                                          : blocks ? ScaleSpan::kGroup
                                                   : ScaleSpan::kRow,
                                  .block = {1, block.cols}}};
  group.rest = true;
  result.groups.push_back(std::move(group));
  Exclude(config, result);
}

void ReadMxfp4Config(const Json& config, QuantizationConfig& result) {
  QuantizedGroup group;
  group.scheme = {.format = "mxfp4",
                  .weights = {.bits = 4, .span = ScaleSpan::kGroup, .block = {1, 32}}};
  group.rest = true;
  result.groups.push_back(std::move(group));
  Exclude(config, result);
}

}  // namespace cacheready
