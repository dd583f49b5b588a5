// DeepSeek-V3 and Kimi-K2 (which differs by its config only): latent attention, sigmoid routing
// with a correction of the choice and groups of experts, a shared ungated expert, dense first
// layers. Of multi-token-prediction layers, which follow the decoder's, only the routers are read.
// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <utility>

#include "base/error.h"
#include "model/config_reader.h"
#include "model/decoder_model.h"
#include "model/experts.h"
#include "model/families/families.h"
#include "model/latent_attention.h"
#include "model/moe_reader.h"

namespace cacheready {
namespace {

struct DeepseekV3 {
  std::string prefix;
  LatentAttentionSpec attention;
  MoeSpec moe;
  std::int64_t dense_layers = 0, routed_every = 1;
  std::int64_t dense_width = 0;
  double norm_eps = 1e-6;

  bool IsRouted(std::int64_t layer) const {
    return layer >= dense_layers && layer % routed_every == 0;
  }
};

MoeSpec ReadMoe(const ConfigReader& config, std::int64_t hidden) {
  MoeSpec moe;
  moe.experts = {.experts = config.Size("n_routed_experts"),
                 .hidden = hidden,
                 .intermediate = config.Size("moe_intermediate_size")};
  moe.router = ReadCorrectedSigmoidRouter(config, moe.experts.experts);
  moe.router_role = Role::kFp32Router;
  moe.selection_bias = "gate.e_score_correction_bias";
  moe.shared_width = config.Count("n_shared_experts", 0) * moe.experts.intermediate;
  return moe;
}

DecoderLayer OpenDeepseekV3Layer(const WeightReader& weights, const DeepseekV3& family,
                                 std::int64_t layer) {
  const std::string module = fmt::format("{}layers.{}", family.prefix, layer);
  const std::int64_t hidden = family.attention.hidden;
  DecoderLayer opened;
  opened.mixer_norm = OpenNorm(weights, module + ".input_layernorm", hidden, family.norm_eps, 0.0f);
  opened.mixer = OpenLatentAttention(weights, module + ".self_attn", family.attention);
  opened.ffn_norm =
      OpenNorm(weights, module + ".post_attention_layernorm", hidden, family.norm_eps, 0.0f);
  if (family.IsRouted(layer)) {
    OpenedMoe moe = OpenMoe(weights, module + ".mlp", family.moe);
    opened.moe = std::move(moe.block);
    opened.expert_layout = std::move(moe.layout);
  } else {
    opened.dense = OpenFeedForward(weights, module + ".mlp", hidden, family.dense_width);
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
  const std::int64_t hidden = config.Size("hidden_size");
  const std::int64_t layers = config.Size("num_hidden_layers");
  DeepseekV3 family;
  family.prefix =
      FindPrefix(checkpoint, {"model.", "language_model.model."}, "embed_tokens.weight");
  family.attention = ReadLatentAttention(
      config, hidden,
      config.Flag("rope_interleave", true) ? RotaryPairs::kNeighbours : RotaryPairs::kHalves);
  family.moe = ReadMoe(config, hidden);
  family.dense_layers = config.Count("first_k_dense_replace", 3);
  family.routed_every = config.Size("moe_layer_freq", 1);
  family.dense_width = config.Size("intermediate_size");
  family.norm_eps = config.Number("rms_norm_eps", 1e-6);

  DecoderSpec spec;
  spec.info = {.family = "deepseek_v3",
               .layers = layers,
               .hidden = hidden,
               .vocab = config.Size("vocab_size"),
               .experts = family.moe.experts.experts,
               .top_k = family.moe.router.top_k,
               .mtp_routers = FindMtpLayers(checkpoint, family.prefix, layers, "mlp", family.moe),
               .attention = "multi-head latent attention"};
  spec.embedding = family.prefix + "embed_tokens";
  spec.final_norm = family.prefix + "norm";
  spec.head = FindHead(checkpoint, spec.embedding);
  spec.norm_eps = family.norm_eps;
  spec.open_layer = [family](const WeightReader& weights, std::int64_t layer) {
    return OpenDeepseekV3Layer(weights, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
