// Qwen2-MoE (Qwen1.5-MoE): biases on queries, keys and values, softmax routing, one shared expert
// behind a sigmoid gate; layers may be dense, and some may see a window only.
// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/decoder_reader.h"
#include "model/families/families.h"

namespace cacheready {
namespace {

constexpr std::string_view kSliding = "sliding_attention";
constexpr std::string_view kFull = "full_attention";

struct Qwen2Moe {
  AttentionSpec attention;
  std::vector<std::string> layer_types;
  std::int64_t window = 0;  // of sliding layers
  MoeSpec moe;
  std::vector<bool> routed;      // by layer
  std::int64_t dense_width = 0;  // of the others
};

std::string DefaultLayerType(const ConfigReader& config, std::int64_t layer) {
  const bool sliding = config.Flag("use_sliding_window", false) && layer % 2 == 0 &&
                       layer < config.Count("max_window_layers", 28);
  return std::string(sliding ? kSliding : kFull);
}

void ReadLayerTypes(const ConfigReader& config, std::int64_t layers, Qwen2Moe& family) {
  family.layer_types = LayerTypes(config, layers, {kSliding, kFull}, DefaultLayerType);
  for (const std::string& type : family.layer_types) {
    if (type != kSliding) continue;
    if (!config.Flag("use_sliding_window", false)) {
      Fail("{}: key 'layer_types' holds '{}' and 'use_sliding_window' is false", config.what(),
           type);
    }
    family.window = config.Size("sliding_window", 4096);
  }
}

MoeSpec ReadQwen2Experts(const ConfigReader& config, const DecoderSpec& decoder) {
  MoeSpec moe;
  moe.experts = {.experts = config.Size({"num_experts", "num_local_experts"}),
                 .hidden = decoder.info.hidden,
                 .intermediate = config.Size("moe_intermediate_size")};
  moe.router = {.experts = moe.experts.experts,
                .top_k = ReadTopK(config, "num_experts_per_tok", moe.experts.experts),
                .renormalize = config.Flag("norm_topk_prob", false)};
  moe.shared = "shared_expert";
  moe.shared_width = config.Size("shared_expert_intermediate_size");
  moe.shared_gate = "shared_expert_gate";
  return moe;
}

DecoderLayer OpenQwen2Layer(const WeightReader& weights, const DecoderSpec& decoder,
                            const Qwen2Moe& family, std::int64_t layer) {
  const std::string module = fmt::format("model.layers.{}", layer);
  const auto index = static_cast<std::size_t>(layer);
  AttentionSpec attention = family.attention;
  if (family.layer_types[index] == kSliding) attention.window = family.window;
  DecoderLayer opened = OpenLayerNorms(weights, module, decoder);
  opened.mixer = OpenAttention(weights, module + ".self_attn", attention);
  if (family.routed[index]) {
    OpenRoutedPart(weights, module + ".mlp", family.moe, opened);
  } else {
    opened.dense =
        OpenFeedForward(weights, module + ".mlp", decoder.info.hidden, family.dense_width);
  }
  return opened;
}

}  // namespace

bool MatchesQwen2Moe(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"qwen2_moe"});
}

std::unique_ptr<Model> DescribeQwen2Moe(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  config.RequireText("hidden_act", "silu");
  DecoderSpec spec = ReadDecoder(checkpoint, "qwen2_moe");

  Qwen2Moe family;
  family.attention = ReadAttention(config, spec);
  family.attention.input_bias = config.Flag("qkv_bias", true);
  family.attention.rotary = ReadRotary(config, family.attention.head_dim, {});
  ReadLayerTypes(config, spec.info.layers, family);
  family.moe = ReadQwen2Experts(config, spec);
  family.routed = ReadSparseLayers(config, spec.info.layers);
  family.dense_width = config.Size("intermediate_size", 5632);

  spec.info.experts = family.moe.experts.experts;
  spec.info.top_k = family.moe.router.top_k;
  spec.info.attention = "attention";
  spec.open_layer = [decoder = spec, family](const WeightReader& weights, std::int64_t layer) {
    return OpenQwen2Layer(weights, decoder, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
