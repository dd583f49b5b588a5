// DeepSeek-V3 and Kimi-K2 (which differs by its config only): latent attention, sigmoid routing
// with a correction of the choice and groups of experts, a shared ungated expert, dense first
// layers. Of multi-token-prediction layers, which follow the decoder's, only the routers are read.
// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "base/error.h"
#include "model/config_reader.h"
#include "model/decoder_reader.h"
#include "model/families/families.h"
#include "model/latent_attention.h"

namespace cacheready {
namespace {

struct DeepseekV3 {
  std::string prefix;
  DecoderSpec decoder;
  LatentAttentionSpec attention;
  MoeSpec moe;
  std::int64_t dense_layers = 0, routed_every = 1;
  std::int64_t dense_width = 0;
};

DecoderLayer OpenDeepseekV3Layer(const WeightReader& weights, const DeepseekV3& family,
                                 std::int64_t layer) {
  const std::string module = fmt::format("{}layers.{}", family.prefix, layer);
  DecoderLayer opened = OpenLayerNorms(weights, module, family.decoder);
  opened.mixer = OpenLatentAttention(weights, module + ".self_attn", family.attention);
  if (layer >= family.dense_layers && layer % family.routed_every == 0) {
    OpenRoutedPart(weights, module + ".mlp", family.moe, opened);
  } else {
    opened.dense =
        OpenFeedForward(weights, module + ".mlp", family.attention.hidden, family.dense_width);
  }
  return opened;
}

}  // namespace

bool MatchesDeepseekV3(const Json& text_config, const Json& config) {
  return HasModelType(text_config, {"deepseek_v3", "kimi_k2"}) ||
         HasModelType(config, {"kimi_k25"});
}

std::unique_ptr<Model> DescribeDeepseekV3(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  config.RequireText("hidden_act", "silu");
  DeepseekV3 family;
  family.prefix = FindDecoderPrefix(checkpoint);
  family.decoder = ReadDecoder(checkpoint, "deepseek_v3", {.prefix = family.prefix});
  ModelInfo& info = family.decoder.info;
  family.attention = ReadLatentAttention(
      config, info.hidden,
      config.Flag("rope_interleave", true) ? RotaryPairs::kNeighbours : RotaryPairs::kHalves);
  family.moe = ReadCorrectedSigmoidMoe(config, info.hidden);
  family.dense_layers = config.Count("first_k_dense_replace", 3);
  family.routed_every = config.Size("moe_layer_freq", 1);
  family.dense_width = config.Size("intermediate_size");

  info.experts = family.moe.experts.experts;
  info.top_k = family.moe.router.top_k;
  info.mtp_routers = FindMtpLayers(checkpoint, family.prefix, info.layers, "mlp", family.moe);
  info.attention = "multi-head latent attention";
  DecoderSpec spec = family.decoder;
  spec.open_layer = [family](const WeightReader& weights, std::int64_t layer) {
    return OpenDeepseekV3Layer(weights, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
