// GLM-4.5 to GLM-4.7: attention with biases and half-rotated heads, optional norms of queries and
// keys, the routing of DeepSeek-V3. Of multi-token-prediction layers, which follow the decoder's,
// only the routers are read.
// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <utility>

#include "base/error.h"
#include "model/attention.h"
#include "model/config_reader.h"
#include "model/decoder_model.h"
#include "model/experts.h"
#include "model/families/families.h"
#include "model/moe_reader.h"
#include "model/rotary.h"

namespace cacheready {
namespace {

struct Glm4Moe {
  std::string prefix;
  AttentionSpec attention;
  MoeSpec moe;
  std::int64_t dense_layers = 0, dense_width = 0;
};

AttentionSpec ReadAttention(const ConfigReader& config, std::int64_t hidden) {
  const std::int64_t heads = config.Size("num_attention_heads");
  const std::int64_t head_dim = config.Size("head_dim", hidden / heads);
  return {.hidden = hidden,
          .heads = heads,
          .kv_heads = ReadKvHeads(config, heads),
          .head_dim = head_dim,
          .input_bias = config.Flag("attention_bias", false),
          .qk_norm = config.Flag("use_qk_norm", false) ? QkNorm::kHead : QkNorm::kNone,
          .norm_eps = config.Number("rms_norm_eps", 1e-5),
          .rotary = ReadRotary(config, head_dim, {.theta = 10000, .partial = 0.5})};
}

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

DecoderLayer OpenGlm4MoeLayer(const WeightReader& weights, const Glm4Moe& family,
                              std::int64_t layer) {
  const std::string module = fmt::format("{}layers.{}", family.prefix, layer);
  const std::int64_t hidden = family.attention.hidden;
  const double eps = family.attention.norm_eps;
  DecoderLayer opened;
  opened.mixer_norm = OpenNorm(weights, module + ".input_layernorm", hidden, eps, 0.0f);
  opened.mixer = OpenAttention(weights, module + ".self_attn", family.attention);
  opened.ffn_norm = OpenNorm(weights, module + ".post_attention_layernorm", hidden, eps, 0.0f);
  if (layer >= family.dense_layers) {
    OpenedMoe moe = OpenMoe(weights, module + ".mlp", family.moe);
    opened.moe = std::move(moe.block);
    opened.expert_layout = std::move(moe.layout);
  } else {
    opened.dense = OpenFeedForward(weights, module + ".mlp", hidden, family.dense_width);
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
  const std::int64_t hidden = config.Size("hidden_size");
  const std::int64_t layers = config.Size("num_hidden_layers");
  Glm4Moe family;
  family.prefix =
      FindPrefix(checkpoint, {"model.", "language_model.model."}, "embed_tokens.weight");
  family.attention = ReadAttention(config, hidden);
  family.moe = ReadMoe(config, hidden);
  family.dense_layers = config.Count("first_k_dense_replace", 1);
  family.dense_width = config.Size("intermediate_size");

  DecoderSpec spec;
  spec.info = {.family = "glm4_moe",
               .layers = layers,
               .hidden = hidden,
               .vocab = config.Size("vocab_size"),
               .experts = family.moe.experts.experts,
               .top_k = family.moe.router.top_k,
               .mtp_routers = FindMtpLayers(checkpoint, family.prefix, layers, "mlp", family.moe),
               .attention = "grouped-query attention"};
  spec.embedding = family.prefix + "embed_tokens";
  spec.final_norm = family.prefix + "norm";
  spec.head = FindHead(checkpoint, spec.embedding);
  spec.norm_eps = family.attention.norm_eps;
  spec.open_layer = [family](const WeightReader& weights, std::int64_t layer) {
    return OpenGlm4MoeLayer(weights, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
