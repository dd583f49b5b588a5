// OLMoE: norms of queries and keys over their whole projections, which may be clipped; softmax
// routing, as published without renormalization.
// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <utility>

#include "base/error.h"
#include "model/decoder_reader.h"
#include "model/families/families.h"

namespace cacheready {
namespace {

AttentionSpec ReadOlmoeAttention(const ConfigReader& config, const DecoderSpec& decoder) {
  AttentionSpec attention = ReadAttention(config, decoder);
  attention.input_bias = attention.output_bias = config.Flag("attention_bias", false);
  attention.qk_norm = QkNorm::kProjection;
  attention.clip = static_cast<float>(config.Number("clip_qkv", 0));
  if (config.Has("clip_qkv") && !(attention.clip > 0)) {
    Fail("{}: key 'clip_qkv' is {}, expected more than 0", config.what(), attention.clip);
  }
  attention.rotary = ReadRotary(config, attention.head_dim, {});
  return attention;
}

MoeSpec ReadOlmoeExperts(const ConfigReader& config, const DecoderSpec& decoder) {
  MoeSpec moe;
  moe.experts = {.experts = config.Size({"num_experts", "num_local_experts"}),
                 .hidden = decoder.info.hidden,
                 .intermediate = config.Size("intermediate_size")};
  moe.router = {.experts = moe.experts.experts,
                .top_k = ReadTopK(config, "num_experts_per_tok", moe.experts.experts),
                .renormalize = config.Flag("norm_topk_prob", false)};
  return moe;
}

}  // namespace

bool MatchesOlmoe(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"olmoe"});
}

std::unique_ptr<Model> DescribeOlmoe(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  config.RequireText("hidden_act", "silu");
  config.RequireAbsent("sliding_window");
  DecoderSpec spec = ReadDecoder(checkpoint, "olmoe", {.norm_eps = 1e-5});
  const AttentionSpec attention = ReadOlmoeAttention(config, spec);
  const MoeSpec moe = ReadOlmoeExperts(config, spec);

  spec.info.experts = moe.experts.experts;
  spec.info.top_k = moe.router.top_k;
  spec.info.attention = "attention";
  spec.open_layer = [decoder = spec, attention, moe](const WeightReader& weights,
                                                     std::int64_t layer) {
    const std::string module = fmt::format("model.layers.{}", layer);
    DecoderLayer opened = OpenLayerNorms(weights, module, decoder);
    opened.mixer = OpenAttention(weights, module + ".self_attn", attention);
    OpenRoutedPart(weights, module + ".mlp", moe, opened);
    return opened;
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
