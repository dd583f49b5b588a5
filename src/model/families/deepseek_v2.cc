// DeepSeek-V2: latent attention, softmax routing whose weights are never renormalized, plain or
// limited to the groups with the best expert, shared experts as one wide ungated one, dense first
// layers.
// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "base/error.h"
#include "model/config_reader.h"
#include "model/decoder_reader.h"
#include "model/families/families.h"
#include "model/latent_attention.h"

namespace cacheready {
namespace {

struct DeepseekV2 {
  std::string prefix;
  DecoderSpec decoder;
  LatentAttentionSpec attention;
  MoeSpec moe;
  std::int64_t dense_layers = 0, routed_every = 1;
  std::int64_t dense_width = 0;
  bool dense_bias = false;
};

// norm_topk_prob: transformers ignores it, DeepSeek's own code renormalizes and then does not
// scale, vLLM renormalizes and scales. No published checkpoint sets it.
RouterSpec ReadRouter(const ConfigReader& config, std::int64_t experts) {
  config.RequireText("scoring_func", "softmax");
  config.RequireFlag("norm_topk_prob", false);
  RouterSpec router{.experts = experts,
                    .top_k = ReadTopK(config, "num_experts_per_tok", experts),
                    .renormalize = false,
                    .scaling = config.Number("routed_scaling_factor", 1.0)};
  if (config.IsText("topk_method", "group_limited_greedy")) {
    ReadRoutingGroups(config, router);
  } else {
    config.RequireText("topk_method", "greedy");
  }
  return router;
}

MoeSpec ReadMoe(const ConfigReader& config, std::int64_t hidden) {
  MoeSpec moe;
  moe.experts = {.experts = config.Size("n_routed_experts"),
                 .hidden = hidden,
                 .intermediate = config.Size("moe_intermediate_size")};
  moe.router = ReadRouter(config, moe.experts.experts);
  moe.router_role = Role::kFp32Router;
  moe.shared_width = config.Count("n_shared_experts", 0) * moe.experts.intermediate;
  moe.shared_bias = config.Flag("mlp_bias", false);
  return moe;
}

DecoderLayer OpenDeepseekV2Layer(const WeightReader& weights, const DeepseekV2& family,
                                 std::int64_t layer) {
  const std::string module = fmt::format("{}layers.{}", family.prefix, layer);
  DecoderLayer opened = OpenLayerNorms(weights, module, family.decoder);
  opened.mixer = OpenLatentAttention(weights, module + ".self_attn", family.attention);
  const std::string ffn = module + ".mlp";
  if (layer >= family.dense_layers && layer % family.routed_every == 0) {
    OpenRoutedPart(weights, ffn, family.moe, opened);
  } else {
    opened.dense = OpenFeedForward(weights, ffn, family.attention.hidden, family.dense_width);
    if (family.dense_bias) OpenBiases(weights, ffn, {}, *opened.dense);
  }
  return opened;
}

}  // namespace

bool MatchesDeepseekV2(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"deepseek_v2"});
}

std::unique_ptr<Model> DescribeDeepseekV2(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  config.RequireText("hidden_act", "silu");
  DeepseekV2 family;
  family.prefix = FindDecoderPrefix(checkpoint);
  family.decoder = ReadDecoder(checkpoint, "deepseek_v2", {.prefix = family.prefix});
  const std::int64_t hidden = family.decoder.info.hidden;
  family.attention = ReadLatentAttention(config, hidden, RotaryPairs::kNeighbours);
  family.moe = ReadMoe(config, hidden);
  family.dense_layers = config.Count("first_k_dense_replace", 0);
  family.routed_every = config.Size("moe_layer_freq", 1);
  family.dense_width = config.Size("intermediate_size");
  family.dense_bias = config.Flag("mlp_bias", false);

  DecoderSpec spec = family.decoder;
  spec.info.experts = family.moe.experts.experts;
  spec.info.top_k = family.moe.router.top_k;
  spec.info.attention = "multi-head latent attention";
  spec.open_layer = [family](const WeightReader& weights, std::int64_t layer) {
    return OpenDeepseekV2Layer(weights, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
