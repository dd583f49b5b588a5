// gpt-oss: attention with biases and sinks, every second layer over a sliding window; top-k of
// biased logits, softmax over the selected; experts with biases, rows of gate and up interleaved,
// clamped SwiGLU.
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
#include "model/moe_reader.h"
#include "model/rotary.h"

namespace cacheready {
namespace {

constexpr std::string_view kSliding = "sliding_attention";
constexpr std::string_view kFull = "full_attention";

struct GptOss {
  std::string prefix;
  std::vector<std::string> layer_types;
  AttentionSpec attention;  // without the window
  std::int64_t window = 0;
  MoeSpec moe;
};

AttentionSpec ReadAttention(const ConfigReader& config, std::int64_t hidden) {
  config.RequireNumber("partial_rotary_factor", 1);
  const std::int64_t heads = config.Size("num_attention_heads");
  const std::int64_t head_dim = config.Size("head_dim", hidden / heads);
  const bool bias = config.Flag("attention_bias", true);
  return {.hidden = hidden,
          .heads = heads,
          .kv_heads = ReadKvHeads(config, heads),
          .head_dim = head_dim,
          .input_bias = bias,
          .output_bias = bias,
          .norm_eps = config.Number("rms_norm_eps", 1e-5),
          .rotary = ReadRotary(config, head_dim, {.theta = 150000, .partial = 1}),
          .sinks = true};
}

MoeSpec ReadMoe(const ConfigReader& config, std::int64_t hidden) {
  config.RequireText("hidden_act", "silu");
  config.RequireNumber("swiglu_limit", 7);
  MoeSpec moe;
  moe.experts = {.experts = config.Size({"num_local_experts", "num_experts"}),
                 .hidden = hidden,
                 .intermediate = config.Size("intermediate_size"),
                 .activation = Activation::kClampedSwiglu,
                 .bias = true,
                 .interleaved = true};
  const char* top_k =
      config.Has("num_experts_per_tok") ? "num_experts_per_tok" : "experts_per_token";
  moe.router = {.experts = moe.experts.experts,
                .top_k = ReadTopK(config, top_k, moe.experts.experts),
                .scoring = Scoring::kLogits};
  moe.gate = "router";
  moe.logit_bias = "router.bias";
  return moe;
}

std::string DefaultLayerType(const ConfigReader& /*config*/, std::int64_t layer) {
  return std::string(layer % 2 == 0 ? kSliding : kFull);
}

DecoderLayer OpenGptOssLayer(const WeightReader& weights, const GptOss& family,
                             std::int64_t layer) {
  const std::string module = fmt::format("{}layers.{}", family.prefix, layer);
  const std::int64_t hidden = family.attention.hidden;
  const double eps = family.attention.norm_eps;
  AttentionSpec attention = family.attention;
  if (family.layer_types[static_cast<std::size_t>(layer)] == kSliding) {
    attention.window = family.window;
  }
  DecoderLayer opened;
  opened.mixer_norm = OpenNorm(weights, module + ".input_layernorm", hidden, eps, 0.0f);
  opened.mixer = OpenAttention(weights, module + ".self_attn", attention);
  opened.ffn_norm = OpenNorm(weights, module + ".post_attention_layernorm", hidden, eps, 0.0f);
  OpenedMoe moe = OpenMoe(weights, module + ".mlp", family.moe);
  opened.moe = std::move(moe.block);
  opened.expert_layout = std::move(moe.layout);
  return opened;
}

std::string DescribeAttention(const GptOss& family) {
  const auto full = std::count(family.layer_types.begin(), family.layer_types.end(), kFull);
  return fmt::format("{} layers of attention over {} tokens, {} over all, with sinks",
                     static_cast<std::int64_t>(family.layer_types.size()) - full, family.window,
                     full);
}

}  // namespace

bool MatchesGptOss(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"gpt_oss"});
}

std::unique_ptr<Model> DescribeGptOss(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  if (!config.Has("rope_parameters") && !config.Has("rope_scaling")) {
    Fail("{}: neither 'rope_parameters' nor 'rope_scaling' is there", config.what());
  }
  const std::int64_t hidden = config.Size("hidden_size");
  const std::int64_t layers = config.Size("num_hidden_layers");
  GptOss family;
  family.prefix = FindPrefix(checkpoint, {"model."}, "embed_tokens.weight");
  family.layer_types = LayerTypes(config, layers, {kSliding, kFull}, DefaultLayerType);
  family.attention = ReadAttention(config, hidden);
  const auto& types = family.layer_types;
  if (std::find(types.begin(), types.end(), kSliding) != types.end()) {
    family.window = config.Size("sliding_window");
  }
  family.moe = ReadMoe(config, hidden);

  DecoderSpec spec;
  spec.info = {.family = "gpt_oss",
               .layers = layers,
               .hidden = hidden,
               .vocab = config.Size("vocab_size"),
               .experts = family.moe.experts.experts,
               .top_k = family.moe.router.top_k,
               .attention = DescribeAttention(family)};
  spec.embedding = family.prefix + "embed_tokens";
  spec.final_norm = family.prefix + "norm";
  spec.head = FindHead(checkpoint, spec.embedding);
  spec.norm_eps = family.attention.norm_eps;
  spec.open_layer = [family](const WeightReader& weights, std::int64_t layer) {
    return OpenGptOssLayer(weights, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
