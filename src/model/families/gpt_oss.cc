// gpt-oss: attention with biases and sinks, every second layer over a sliding window; top-k of
// biased logits, softmax over the selected; experts with biases, rows of gate and up interleaved,
// clamped SwiGLU.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "model/attention.h"
#include "model/config_reader.h"
#include "model/decoder_reader.h"
#include "model/families/families.h"
#include "model/rotary.h"

namespace cacheready {
namespace {

constexpr std::string_view kSliding = "sliding_attention";
constexpr std::string_view kFull = "full_attention";

struct GptOss {
  DecoderSpec decoder;
  std::vector<std::string> layer_types;
  AttentionSpec attention;  // without the window
  std::int64_t window = 0;
  MoeSpec moe;
};

AttentionSpec ReadSinkAttention(const ConfigReader& config, const DecoderSpec& decoder) {
  config.RequireNumber("partial_rotary_factor", 1);
  if (!config.Has("rope_parameters") && !config.Has("rope_scaling")) {
    Fail("{}: neither 'rope_parameters' nor 'rope_scaling' is there", config.what());
  }
  AttentionSpec attention = ReadAttention(config, decoder);
  attention.input_bias = attention.output_bias = config.Flag("attention_bias", true);
  attention.rotary = ReadRotary(config, attention.head_dim, {.theta = 150000, .partial = 1});
  attention.sinks = true;
  return attention;
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
  const std::string module = fmt::format("model.layers.{}", layer);
  AttentionSpec attention = family.attention;
  if (family.layer_types[static_cast<std::size_t>(layer)] == kSliding) {
    attention.window = family.window;
  }
  DecoderLayer opened = OpenLayerNorms(weights, module, family.decoder);
  opened.mixer = OpenAttention(weights, module + ".self_attn", attention);
  OpenRoutedPart(weights, module + ".mlp", family.moe, opened);
  return opened;
}

}  // namespace

bool MatchesGptOss(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"gpt_oss"});
}

std::unique_ptr<Model> DescribeGptOss(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  GptOss family;
  family.decoder = ReadDecoder(checkpoint, "gpt_oss", {.norm_eps = 1e-5});
  ModelInfo& info = family.decoder.info;
  family.layer_types = LayerTypes(config, info.layers, {kSliding, kFull}, DefaultLayerType);
  family.attention = ReadSinkAttention(config, family.decoder);
  const auto full = std::count(family.layer_types.begin(), family.layer_types.end(), kFull);
  if (full < info.layers) family.window = config.Size("sliding_window");
  family.moe = ReadMoe(config, info.hidden);

  info.experts = family.moe.experts.experts;
  info.top_k = family.moe.router.top_k;
  info.attention = fmt::format("{} layers of attention over {} tokens, {} over all, with sinks",
                               info.layers - full, family.window, full);
  DecoderSpec spec = family.decoder;
  spec.open_layer = [family](const WeightReader& weights, std::int64_t layer) {
    return OpenGptOssLayer(weights, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
