// dots.llm1: attention with norms of queries and keys over each head, the sigmoid router of
// DeepSeek-V3 with a correction bias, ungated shared experts, dense first layers; the last layers
// may see a window only.
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

struct Dots1 {
  AttentionSpec attention;
  std::vector<std::string> layer_types;
  std::int64_t window = 0;  // of sliding layers
  MoeSpec moe;
  std::int64_t dense_layers = 0;
  std::int64_t dense_width = 0;
};

std::string DefaultLayerType(const ConfigReader& config, std::int64_t layer) {
  const bool sliding =
      config.Has("sliding_window") && layer >= config.Count("max_window_layers", 62);
  return std::string(sliding ? kSliding : kFull);
}

AttentionSpec ReadDotsAttention(const ConfigReader& config, const DecoderSpec& decoder) {
  AttentionSpec attention = ReadAttention(config, decoder);
  attention.input_bias = attention.output_bias = config.Flag("attention_bias", false);
  attention.qk_norm = QkNorm::kHead;
  attention.rotary = ReadRotary(config, attention.head_dim, {});
  return attention;
}

MoeSpec ReadDotsExperts(const ConfigReader& config, const DecoderSpec& decoder) {
  MoeSpec moe;
  moe.experts = {.experts = config.Size("n_routed_experts"),
                 .hidden = decoder.info.hidden,
                 .intermediate = config.Size("moe_intermediate_size")};
  moe.router = ReadCorrectedSigmoidRouter(config, moe.experts.experts);
  moe.router.renormalize = config.Flag("norm_topk_prob", false);
  moe.selection_bias = "gate.e_score_correction_bias";
  moe.shared_width = config.Count("n_shared_experts", 0) * moe.experts.intermediate;
  return moe;
}

DecoderLayer OpenDotsLayer(const WeightReader& weights, const DecoderSpec& decoder,
                           const Dots1& family, std::int64_t layer) {
  const std::string module = fmt::format("model.layers.{}", layer);
  AttentionSpec attention = family.attention;
  if (family.layer_types[static_cast<std::size_t>(layer)] == kSliding) {
    attention.window = family.window;
  }
  DecoderLayer opened = OpenLayerNorms(weights, module, decoder);
  opened.mixer = OpenAttention(weights, module + ".self_attn", attention);
  if (layer >= family.dense_layers) {
    OpenRoutedPart(weights, module + ".mlp", family.moe, opened);
  } else {
    opened.dense =
        OpenFeedForward(weights, module + ".mlp", decoder.info.hidden, family.dense_width);
  }
  return opened;
}

}  // namespace

bool MatchesDots1(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"dots1"});
}

std::unique_ptr<Model> DescribeDots1(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  config.RequireText("hidden_act", "silu");
  config.RequireInteger("moe_layer_freq", 1);
  DecoderSpec spec = ReadDecoder(checkpoint, "dots1");

  Dots1 family;
  family.attention = ReadDotsAttention(config, spec);
  family.layer_types = LayerTypes(config, spec.info.layers, {kSliding, kFull}, DefaultLayerType);
  family.window = config.Size("sliding_window", 4096);
  family.moe = ReadDotsExperts(config, spec);
  family.dense_layers = config.Count("first_k_dense_replace", 0);
  family.dense_width = config.Size("intermediate_size");

  spec.info.experts = family.moe.experts.experts;
  spec.info.top_k = family.moe.router.top_k;
  spec.info.attention = "attention";
  spec.open_layer = [decoder = spec, family](const WeightReader& weights, std::int64_t layer) {
    return OpenDotsLayer(weights, decoder, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
