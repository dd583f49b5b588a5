// Qwen3.5-MoE and Qwen3.6-MoE, the language model: layers of Gated DeltaNet and, every fourth,
// attention with an output gate; zero-centred norms; softmax routing that is always renormalized;
// one shared expert behind a sigmoid gate. The vision tower is not read, of multi-token-prediction
// blocks only the routers.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/attention.h"
#include "model/config_reader.h"
#include "model/decoder_model.h"
#include "model/experts.h"
#include "model/families/families.h"
#include "model/gated_delta_net.h"
#include "model/rotary.h"

namespace cacheready {
namespace {

constexpr float kZeroCentred = 1.0f;
constexpr std::string_view kLinear = "linear_attention";
constexpr std::string_view kFull = "full_attention";

struct Qwen35Moe {
  std::string prefix;  // "model.language_model." as published, "model." for text only
  std::vector<std::string> layer_types;
  AttentionSpec attention;
  GatedDeltaNetSpec delta_net;
  ExpertShape experts;
  std::int64_t top_k = 0;
  std::int64_t shared_width = 0;
  double norm_eps = 1e-6;
};

void RefuseOtherMathematics(const ConfigReader& config) {
  config.RequireText("hidden_act", "silu");
  config.RequireFlag("attention_bias", false);
  config.RequireFlag("attn_output_gate", true);
  config.RequireFlag("norm_topk_prob", true);
  config.RequireFlag("use_sliding_window", false);
  config.RequireInteger("decoder_sparse_step", 1);
  config.RequireEmpty("mlp_only_layers");
}

AttentionSpec ReadAttention(const ConfigReader& config, std::int64_t hidden, double norm_eps) {
  const std::int64_t heads = config.Size("num_attention_heads");
  const std::int64_t head_dim = config.Size("head_dim", hidden / heads);
  return {.hidden = hidden,
          .heads = heads,
          .kv_heads = ReadKvHeads(config, heads),
          .head_dim = head_dim,
          .output_gate = true,
          .qk_norm = QkNorm::kHead,
          .norm_eps = norm_eps,
          .norm_offset = kZeroCentred,
          .rotary = ReadRotary(config, head_dim, {.theta = 1e7, .partial = 0.25})};
}

std::string DefaultLayerType(const ConfigReader& config, std::int64_t layer) {
  const std::int64_t interval = config.Size("full_attention_interval", 4);
  return std::string((layer + 1) % interval == 0 ? kFull : kLinear);
}

MoeBlock OpenMoe(const WeightReader& weights, const Qwen35Moe& family, const std::string& module,
                 std::string& layout) {
  const ExpertShape& shape = family.experts;
  MoeBlock moe;
  moe.router = {.experts = shape.experts, .top_k = family.top_k};
  moe.tensors.weight = module + ".gate.weight";
  moe.router_weight = weights.OpenRouter(module + ".gate", shape.experts, shape.hidden);
  OpenedExperts opened = OpenExperts(weights, module + ".experts", shape);
  moe.experts = std::move(opened.experts);
  layout = std::move(opened.layout);
  moe.shared =
      OpenFeedForward(weights, module + ".shared_expert", shape.hidden, family.shared_width);
  moe.shared_gate = weights.Open(module + ".shared_expert_gate", 1, shape.hidden);
  return moe;
}

DecoderLayer OpenQwen35Layer(const WeightReader& weights, const Qwen35Moe& family,
                             std::int64_t layer) {
  const std::string module = fmt::format("{}layers.{}", family.prefix, layer);
  const std::int64_t hidden = family.experts.hidden;
  DecoderLayer opened;
  opened.mixer_norm =
      OpenNorm(weights, module + ".input_layernorm", hidden, family.norm_eps, kZeroCentred);
  opened.mixer = family.layer_types[static_cast<std::size_t>(layer)] == kFull
                     ? OpenAttention(weights, module + ".self_attn", family.attention)
                     : OpenGatedDeltaNet(weights, module + ".linear_attn", family.delta_net);
  opened.ffn_norm = OpenNorm(weights, module + ".post_attention_layernorm", hidden, family.norm_eps,
                             kZeroCentred);
  opened.moe = OpenMoe(weights, family, module + ".mlp", opened.expert_layout);
  return opened;
}

// mtp.layers.0, mtp.layers.1, ... as far as they are stored.
std::vector<MoeLayerInfo> FindMtpRouters(const Checkpoint& checkpoint, const ExpertShape& shape) {
  const WeightReader weights(checkpoint, WeightReader::Mode::kCheck);
  std::vector<MoeLayerInfo> routers;
  for (int n = 0;; ++n) {
    const std::string gate = fmt::format("mtp.layers.{}.mlp.gate", n);
    if (!weights.Has(gate + ".weight")) return routers;
    weights.OpenRouter(gate, shape.experts, shape.hidden);
    routers.push_back({.layer = -1, .tensors = {.weight = gate + ".weight"}});
  }
}

std::string DescribeAttention(const std::vector<std::string>& layer_types) {
  const auto full = std::count(layer_types.begin(), layer_types.end(), kFull);
  return fmt::format("{} layers of Gated DeltaNet, {} of gated attention",
                     static_cast<std::int64_t>(layer_types.size()) - full, full);
}

}  // namespace

bool MatchesQwen35Moe(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"qwen3_5_moe", "qwen3_5_moe_text"});
}

std::unique_ptr<Model> DescribeQwen35Moe(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  RefuseOtherMathematics(config);

  Qwen35Moe family;
  family.prefix =
      FindPrefix(checkpoint, {"model.language_model.", "model."}, "embed_tokens.weight");
  family.norm_eps = config.Number("rms_norm_eps", 1e-6);
  family.experts = {.experts = config.Size("num_experts"),
                    .hidden = config.Size("hidden_size"),
                    .intermediate = config.Size("moe_intermediate_size")};
  family.top_k = ReadTopK(config, "num_experts_per_tok", family.experts.experts);
  family.shared_width = config.Size("shared_expert_intermediate_size");
  const std::int64_t layers = ReadNumLayers(config);
  family.layer_types = LayerTypes(config, layers, {kLinear, kFull}, DefaultLayerType);
  family.attention = ReadAttention(config, family.experts.hidden, family.norm_eps);
  family.delta_net = ReadGatedDeltaNetSpec(config, family.experts.hidden, family.norm_eps);

  DecoderSpec spec;
  spec.info = {.family = "qwen3_5_moe",
               .layers = layers,
               .hidden = family.experts.hidden,
               .vocab = config.Size("vocab_size"),
               .experts = family.experts.experts,
               .top_k = family.top_k,
               .mtp_routers = FindMtpRouters(checkpoint, family.experts),
               .attention = DescribeAttention(family.layer_types)};
  spec.embedding = family.prefix + "embed_tokens";
  spec.final_norm = family.prefix + "norm";
  spec.head = TiesWordEmbeddings(checkpoint) ? spec.embedding : "lm_head";
  spec.norm_eps = family.norm_eps;
  spec.norm_offset = kZeroCentred;
  spec.open_layer = [family](const WeightReader& weights, std::int64_t layer) {
    return OpenQwen35Layer(weights, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
