// Qwen3-Next: layers of Gated DeltaNet, its rows by key head, and, every fourth, attention with an
// output gate; zero-centred norms; softmax routing; one shared expert behind a sigmoid gate; layers
// may be dense. Of multi-token-prediction blocks only the routers are read.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "model/decoder_reader.h"
#include "model/families/families.h"
#include "model/gated_delta_net.h"

namespace cacheready {
namespace {

constexpr std::string_view kLinear = "linear_attention";
constexpr std::string_view kFull = "full_attention";

struct Qwen3Next {
  std::vector<std::string> layer_types;
  AttentionSpec attention;
  GatedDeltaNetSpec delta_net;
  MoeSpec moe;
  std::vector<bool> routed;      // by layer
  std::int64_t dense_width = 0;  // of the others
};

std::string DefaultLayerType(const ConfigReader& config, std::int64_t layer) {
  const std::int64_t interval = config.Size("full_attention_interval", 4);
  return std::string((layer + 1) % interval == 0 ? kFull : kLinear);
}

AttentionSpec ReadGatedAttention(const ConfigReader& config, const DecoderSpec& decoder) {
  AttentionSpec attention = ReadAttention(config, decoder);
  attention.head_dim = config.Size("head_dim", 256);
  attention.output_gate = true;
  attention.input_bias = attention.output_bias = config.Flag("attention_bias", false);
  attention.qk_norm = QkNorm::kHead;
  attention.rotary = ReadRotary(config, attention.head_dim, {.partial = 0.25});
  return attention;
}

MoeSpec ReadNextExperts(const ConfigReader& config, const DecoderSpec& decoder) {
  MoeSpec moe;
  moe.experts = {.experts = config.Size({"num_experts", "num_local_experts"}),
                 .hidden = decoder.info.hidden,
                 .intermediate = config.Size("moe_intermediate_size")};
  moe.router = {.experts = moe.experts.experts,
                .top_k = ReadTopK(config, "num_experts_per_tok", moe.experts.experts),
                .renormalize = config.Flag("norm_topk_prob", true)};
  moe.shared = "shared_expert";
  moe.shared_width = config.Size("shared_expert_intermediate_size");
  moe.shared_gate = "shared_expert_gate";
  return moe;
}

DecoderLayer OpenNextLayer(const WeightReader& weights, const DecoderSpec& decoder,
                           const Qwen3Next& family, std::int64_t layer) {
  const std::string module = fmt::format("model.layers.{}", layer);
  const auto index = static_cast<std::size_t>(layer);
  DecoderLayer opened = OpenLayerNorms(weights, module, decoder);
  opened.mixer = family.layer_types[index] == kFull
                     ? OpenAttention(weights, module + ".self_attn", family.attention)
                     : OpenGatedDeltaNet(weights, module + ".linear_attn", family.delta_net);
  if (family.routed[index]) {
    OpenRoutedPart(weights, module + ".mlp", family.moe, opened);
  } else {
    opened.dense =
        OpenFeedForward(weights, module + ".mlp", decoder.info.hidden, family.dense_width);
  }
  return opened;
}

std::string DescribeAttention(const std::vector<std::string>& layer_types) {
  const auto full = std::count(layer_types.begin(), layer_types.end(), kFull);
  return fmt::format("{} layers of Gated DeltaNet, {} of gated attention",
                     static_cast<std::int64_t>(layer_types.size()) - full, full);
}

}  // namespace

bool MatchesQwen3Next(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"qwen3_next"});
}

std::unique_ptr<Model> DescribeQwen3Next(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  config.RequireText("hidden_act", "silu");
  config.RequireFlag("attn_output_gate", true);
  config.RequireFlag("use_sliding_window", false);
  DecoderSpec spec = ReadDecoder(checkpoint, "qwen3_next");
  spec.norm_offset = 1;  // zero-centred

  Qwen3Next family;
  family.layer_types = LayerTypes(config, spec.info.layers, {kLinear, kFull}, DefaultLayerType);
  family.attention = ReadGatedAttention(config, spec);
  family.delta_net = ReadGatedDeltaNetSpec(config, spec.info.hidden, spec.norm_eps);
  family.delta_net.rows_by_key_head = true;
  family.moe = ReadNextExperts(config, spec);
  family.routed = ReadSparseLayers(config, spec.info.layers);
  family.dense_width = config.Size("intermediate_size", 5632);

  spec.info.experts = family.moe.experts.experts;
  spec.info.top_k = family.moe.router.top_k;
  spec.info.mtp_routers = FindMtpLayers(checkpoint, "mtp.", 0, "mlp", family.moe);
  spec.info.attention = DescribeAttention(family.layer_types);
  spec.open_layer = [decoder = spec, family](const WeightReader& weights, std::int64_t layer) {
    return OpenNextLayer(weights, decoder, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
