// Qwen3-MoE: attention with norms of queries and keys over each head, softmax routing, no shared
// expert; layers may be dense.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "model/decoder_reader.h"
#include "model/families/families.h"

namespace cacheready {
namespace {

struct Qwen3Moe {
  AttentionSpec attention;
  MoeSpec moe;
  std::vector<bool> routed;      // by layer
  std::int64_t dense_width = 0;  // of the others
};

AttentionSpec ReadQwen3Attention(const ConfigReader& config, const DecoderSpec& decoder) {
  AttentionSpec attention = ReadAttention(config, decoder);
  attention.input_bias = attention.output_bias = config.Flag("attention_bias", false);
  attention.qk_norm = QkNorm::kHead;
  attention.rotary = ReadRotary(config, attention.head_dim, {});
  // All layers alike: max_window_layers is not read by transformers here.
  if (config.Flag("use_sliding_window", false)) attention.window = config.Size("sliding_window");
  return attention;
}

MoeSpec ReadQwen3Experts(const ConfigReader& config, const DecoderSpec& decoder) {
  MoeSpec moe;
  moe.experts = {.experts = config.Size({"num_experts", "num_local_experts"}),
                 .hidden = decoder.info.hidden,
                 .intermediate = config.Size("moe_intermediate_size")};
  moe.router = {.experts = moe.experts.experts,
                .top_k = ReadTopK(config, "num_experts_per_tok", moe.experts.experts),
                .renormalize = config.Flag("norm_topk_prob", false)};
  return moe;
}

DecoderLayer OpenQwen3Layer(const WeightReader& weights, const DecoderSpec& decoder,
                            const Qwen3Moe& family, std::int64_t layer) {
  const std::string module = fmt::format("model.layers.{}", layer);
  DecoderLayer opened = OpenLayerNorms(weights, module, decoder);
  opened.mixer = OpenAttention(weights, module + ".self_attn", family.attention);
  if (family.routed[static_cast<std::size_t>(layer)]) {
    OpenRoutedPart(weights, module + ".mlp", family.moe, opened);
  } else {
    opened.dense =
        OpenFeedForward(weights, module + ".mlp", decoder.info.hidden, family.dense_width);
  }
  return opened;
}

}  // namespace

bool MatchesQwen3Moe(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"qwen3_moe"});
}

std::unique_ptr<Model> DescribeQwen3Moe(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  config.RequireText("hidden_act", "silu");
  config.RequireInteger("shared_expert_intermediate_size", 0);
  DecoderSpec spec = ReadDecoder(checkpoint, "qwen3_moe");

  Qwen3Moe family;
  family.attention = ReadQwen3Attention(config, spec);
  family.moe = ReadQwen3Experts(config, spec);
  family.routed = ReadSparseLayers(config, spec.info.layers);
  family.dense_width = config.Size("intermediate_size", 6144);

  spec.info.experts = family.moe.experts.experts;
  spec.info.top_k = family.moe.router.top_k;
  spec.info.attention = "attention";
  spec.open_layer = [decoder = spec, family](const WeightReader& weights, std::int64_t layer) {
    return OpenQwen3Layer(weights, decoder, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
