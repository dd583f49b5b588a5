// Ernie-4.5-MoE, the language model: positions on neighbouring columns, softmax routing with a
// correction bias for the choice and renormalized weights, ungated shared experts; layers before,
// between and after the routed ones are dense. Router logits are fp32 in every engine.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "model/decoder_reader.h"
#include "model/families/families.h"

namespace cacheready {
namespace {

struct ErnieMoe {
  AttentionSpec attention;
  MoeSpec moe;
  std::vector<bool> routed;      // by layer
  std::int64_t dense_width = 0;  // of the others
  bool bias = false;             // of attention, dense and shared parts, and head; not of experts
};

AttentionSpec ReadErnieAttention(const ConfigReader& config, const DecoderSpec& decoder) {
  AttentionSpec attention = ReadAttention(config, decoder);
  attention.input_bias = attention.output_bias = config.Flag("use_bias", false);
  attention.rotary = ReadRotary(config, attention.head_dim, {.theta = 5e5});
  attention.rotary->pairs = RotaryPairs::kNeighbours;
  return attention;
}

MoeSpec ReadErnieExperts(const ConfigReader& config, const DecoderSpec& decoder) {
  MoeSpec moe;
  moe.experts = {.experts = config.Size({"moe_num_experts", "num_experts"}),
                 .hidden = decoder.info.hidden,
                 .intermediate = config.Size("moe_intermediate_size")};
  moe.router = {.experts = moe.experts.experts,
                .top_k = ReadTopK(config, config.Has("moe_k") ? "moe_k" : "num_experts_per_tok",
                                  moe.experts.experts),
                .renormalize_floor = config.Number("moe_norm_min", 1e-12)};
  moe.router_role = Role::kFp32Router;
  moe.shared_width = config.Count("moe_num_shared_experts", 2) * moe.experts.intermediate;
  moe.shared_bias = config.Flag("use_bias", false);
  return moe;
}

std::vector<bool> ReadRoutedLayers(const ConfigReader& config, std::int64_t layers) {
  const std::int64_t interval = config.Size("moe_layer_interval", 1);
  const std::int64_t first = config.Count("moe_layer_start_index", 1);
  const std::int64_t end = config.Integer("moe_layer_end_index", -1);
  const std::int64_t last = end == -1 ? layers - 1 : end;
  std::vector<bool> routed;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    routed.push_back((layer + 1) % interval == 0 && layer >= first && layer <= last);
  }
  return routed;
}

// Below the routed part as published, below its gate as transformers 5 saves it.
std::string SelectionBias(const WeightReader& weights, const std::string& module) {
  const std::string published = "moe_statics.e_score_correction_bias";
  const std::string resaved = "gate." + published;
  const bool is_resaved =
      weights.Has(module + "." + resaved) ||
      (!weights.Has(module + "." + published) && weights.Has(module + ".experts.gate_up_proj"));
  return is_resaved ? resaved : published;
}

DecoderLayer OpenErnieLayer(const WeightReader& weights, const DecoderSpec& decoder,
                            const ErnieMoe& family, std::int64_t layer) {
  const std::string module = fmt::format("model.layers.{}", layer);
  const std::string mlp = module + ".mlp";
  DecoderLayer opened = OpenLayerNorms(weights, module, decoder);
  opened.mixer = OpenAttention(weights, module + ".self_attn", family.attention);
  if (!family.routed[static_cast<std::size_t>(layer)]) {
    opened.dense = OpenFeedForward(weights, mlp, decoder.info.hidden, family.dense_width);
    if (family.bias) OpenBiases(weights, mlp, {}, *opened.dense);
    return opened;
  }
  MoeSpec moe = family.moe;
  moe.selection_bias = SelectionBias(weights, mlp);
  OpenRoutedPart(weights, mlp, moe, opened);
  return opened;
}

}  // namespace

bool MatchesErnieMoe(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"ernie4_5_moe"});
}

std::unique_ptr<Model> DescribeErnieMoe(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  config.RequireText("hidden_act", "silu");
  config.RequireText("moe_gate", "topk");
  DecoderSpec spec = ReadDecoder(checkpoint, "ernie4_5_moe", {.norm_eps = 1e-5, .tied = true});

  ErnieMoe family;
  family.attention = ReadErnieAttention(config, spec);
  family.moe = ReadErnieExperts(config, spec);
  family.routed = ReadRoutedLayers(config, spec.info.layers);
  family.dense_width = config.Size("intermediate_size");
  family.bias = config.Flag("use_bias", false);
  if (family.bias) spec.head_bias = "lm_head.bias";

  spec.info.experts = family.moe.experts.experts;
  spec.info.top_k = family.moe.router.top_k;
  spec.info.attention = "attention";
  spec.open_layer = [decoder = spec, family](const WeightReader& weights, std::int64_t layer) {
    return OpenErnieLayer(weights, decoder, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
