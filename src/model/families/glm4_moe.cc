// GLM-4.5 to GLM-4.7: attention with biases and half-rotated heads, optional norms of queries and
// keys, the routing of DeepSeek-V3. Of multi-token-prediction layers, which follow the decoder's,
// only the routers are read.
// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "base/error.h"
#include "model/attention.h"
#include "model/config_reader.h"
#include "model/decoder_reader.h"
#include "model/families/families.h"
#include "model/rotary.h"

namespace cacheready {
namespace {

struct Glm4Moe {
  std::string prefix;
  DecoderSpec decoder;
  AttentionSpec attention;
  MoeSpec moe;
  std::int64_t dense_layers = 0, dense_width = 0;
};

DecoderLayer OpenGlm4MoeLayer(const WeightReader& weights, const Glm4Moe& family,
                              std::int64_t layer) {
  const std::string module = fmt::format("{}layers.{}", family.prefix, layer);
  DecoderLayer opened = OpenLayerNorms(weights, module, family.decoder);
  opened.mixer = OpenAttention(weights, module + ".self_attn", family.attention);
  if (layer >= family.dense_layers) {
    OpenRoutedPart(weights, module + ".mlp", family.moe, opened);
  } else {
    opened.dense =
        OpenFeedForward(weights, module + ".mlp", family.attention.hidden, family.dense_width);
  }
  return opened;
}

}  // namespace

bool MatchesGlm4Moe(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"glm4_moe"});
}

std::unique_ptr<Model> DescribeGlm4Moe(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  config.RequireText("hidden_act", "silu");
  Glm4Moe family;
  family.prefix = FindDecoderPrefix(checkpoint);
  family.decoder = ReadDecoder(checkpoint, "glm4_moe", {.prefix = family.prefix, .norm_eps = 1e-5});
  ModelInfo& info = family.decoder.info;
  family.attention = ReadAttention(config, family.decoder);
  family.attention.input_bias = config.Flag("attention_bias", false);
  if (config.Flag("use_qk_norm", false)) family.attention.qk_norm = QkNorm::kHead;
  family.attention.rotary =
      ReadRotary(config, family.attention.head_dim, {.theta = 10000, .partial = 0.5});
  family.moe = ReadCorrectedSigmoidMoe(config, info.hidden);
  family.dense_layers = config.Count("first_k_dense_replace", 1);
  family.dense_width = config.Size("intermediate_size");

  info.experts = family.moe.experts.experts;
  info.top_k = family.moe.router.top_k;
  info.mtp_routers = FindMtpLayers(checkpoint, family.prefix, info.layers, "mlp", family.moe);
  info.attention = "grouped-query attention";
  DecoderSpec spec = family.decoder;
  spec.open_layer = [family](const WeightReader& weights, std::int64_t layer) {
    return OpenGlm4MoeLayer(weights, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
