// Mixtral: plain attention, softmax routing that is always renormalized, experts named w1 (gate),
// w3 (up) and w2 (down).
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <string>
#include <utility>

#include "model/decoder_reader.h"
#include "model/families/families.h"

namespace cacheready {
namespace {

MoeSpec ReadMixtralExperts(const ConfigReader& config, const DecoderSpec& decoder) {
  MoeSpec moe;
  moe.experts = {.experts = config.Size({"num_local_experts", "num_experts"}),
                 .hidden = decoder.info.hidden,
                 .intermediate = config.Size("intermediate_size")};
  moe.router = {.experts = moe.experts.experts,
                .top_k = ReadTopK(config, "num_experts_per_tok", moe.experts.experts)};
  moe.projections = {.gate = "w1", .up = "w3", .down = "w2"};
  return moe;
}

DecoderLayer OpenMixtralLayer(const WeightReader& weights, const DecoderSpec& decoder,
                              const AttentionSpec& attention, const MoeSpec& moe,
                              std::int64_t layer) {
  const std::string module = fmt::format("model.layers.{}", layer);
  DecoderLayer opened = OpenLayerNorms(weights, module, decoder);
  opened.mixer = OpenAttention(weights, module + ".self_attn", attention);
  // As published, or as transformers 5 saves it.
  const bool resaved =
      weights.Has(module + ".mlp.gate.weight") || weights.Has(module + ".mlp.experts.gate_up_proj");
  OpenRoutedPart(weights, module + (resaved ? ".mlp" : ".block_sparse_moe"), moe, opened);
  return opened;
}

}  // namespace

bool MatchesMixtral(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"mixtral"});
}

std::unique_ptr<Model> DescribeMixtral(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  config.RequireText("hidden_act", "silu");
  DecoderSpec spec = ReadDecoder(checkpoint, "mixtral", {.norm_eps = 1e-5});
  AttentionSpec attention = ReadAttention(config, spec);
  attention.rotary = ReadRotary(config, attention.head_dim, {.theta = 1e6});
  if (config.Has("sliding_window")) attention.window = config.Size("sliding_window");
  const MoeSpec moe = ReadMixtralExperts(config, spec);

  spec.info.experts = moe.experts.experts;
  spec.info.top_k = moe.router.top_k;
  spec.info.attention = "attention";
  spec.open_layer = [decoder = spec, attention, moe](const WeightReader& weights,
                                                     std::int64_t layer) {
    return OpenMixtralLayer(weights, decoder, attention, moe, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
