// Phi-3.5-MoE: layer norms, biases in attention and head, SparseMixer routing to two experts named
// w1 (gate), w3 (up) and w2 (down), LongRoPE.
// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <utility>

#include "base/error.h"
#include "model/decoder_reader.h"
#include "model/families/families.h"

namespace cacheready {
namespace {

constexpr double kTheta = 1e6;

// cos and sin are multiplied by short_mscale or long_mscale whatever the type; only LongRoPE was
// ever published with them.
void RequireKnownPositions(const ConfigReader& config) {
  const ConfigReader parameters = RotaryParameters(config);
  const std::string type = parameters.Text("rope_type", parameters.Text("type", "default"));
  if (type == "default") return;
  if (type != "longrope") {
    Fail("{}: key 'rope_type' is \"{}\", and only default and longrope are implemented",
         parameters.what(), type);
  }
  parameters.Number("short_mscale");
  parameters.Number("long_mscale");
}

AttentionSpec ReadPhiAttention(const ConfigReader& config, const DecoderSpec& decoder) {
  AttentionSpec attention = ReadAttention(config, decoder);
  attention.input_bias = attention.output_bias = config.Flag("attention_bias", false);
  attention.rotary = ReadRotary(config, attention.head_dim, {.theta = kTheta});
  if (config.Has("sliding_window")) attention.window = config.Size("sliding_window");
  return attention;
}

MoeSpec ReadPhiExperts(const ConfigReader& config, const DecoderSpec& decoder) {
  config.RequireInteger("num_experts_per_tok", 2);
  MoeSpec moe;
  moe.experts = {.experts = config.Size({"num_local_experts", "num_experts"}),
                 .hidden = decoder.info.hidden,
                 .intermediate = config.Size("intermediate_size")};
  moe.router = {.experts = moe.experts.experts,
                .top_k = ReadTopK(config, "num_experts_per_tok", moe.experts.experts),
                .scoring = Scoring::kSparseMixer,
                .jitter = config.Number("router_jitter_noise", 0.01)};
  moe.projections = {.gate = "w1", .up = "w3", .down = "w2"};
  return moe;
}

DecoderLayer OpenPhiLayer(const WeightReader& weights, const DecoderSpec& decoder,
                          const AttentionSpec& attention, MoeSpec moe, std::int64_t layer) {
  const std::string module = fmt::format("model.layers.{}", layer);
  DecoderLayer opened = OpenLayerNorms(weights, module, decoder);
  opened.mixer = OpenAttention(weights, module + ".self_attn", attention);
  // As published, or as transformers 5 saves it.
  const bool resaved = weights.Has(module + ".mlp.router.weight") ||
                       weights.Has(module + ".mlp.experts.gate_up_proj");
  moe.gate = resaved ? "router" : "gate";
  OpenRoutedPart(weights, module + (resaved ? ".mlp" : ".block_sparse_moe"), moe, opened);
  return opened;
}

}  // namespace

bool MatchesPhimoe(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"phimoe"});
}

std::unique_ptr<Model> DescribePhimoe(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  config.RequireText("hidden_act", "silu");
  RequireKnownPositions(config);
  DecoderSpec spec = ReadDecoder(checkpoint, "phimoe", {.norm_eps = 1e-5});
  spec.norm_kind = NormKind::kLayer;
  if (config.Flag("lm_head_bias", false)) spec.head_bias = "lm_head.bias";
  const AttentionSpec attention = ReadPhiAttention(config, spec);
  const MoeSpec moe = ReadPhiExperts(config, spec);

  spec.info.experts = moe.experts.experts;
  spec.info.top_k = moe.router.top_k;
  spec.info.attention = "attention";
  spec.open_layer = [decoder = spec, attention, moe](const WeightReader& weights,
                                                     std::int64_t layer) {
    return OpenPhiLayer(weights, decoder, attention, moe, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
