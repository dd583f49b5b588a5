// Jamba: Mamba-1 layers and, every few, attention that knows no positions; softmax routing without
// renormalization in every second layer or so, the others dense.
// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "model/attention.h"
#include "model/config_reader.h"
#include "model/decoder_model.h"
#include "model/experts.h"
#include "model/families/families.h"
#include "model/moe_reader.h"
#include "model/selective_state_space.h"

namespace cacheready {
namespace {

// Layers offset, offset + period, ...
struct Cycle {
  std::int64_t period = 1, offset = 0;

  bool Contains(std::int64_t layer) const { return layer % period == offset; }
};

struct Jamba {
  std::string prefix;
  Cycle attention_layers, routed_layers;
  AttentionSpec attention;
  SelectiveStateSpaceSpec state_space;
  MoeSpec moe;
};

Cycle ReadCycle(const ConfigReader& config, const std::string& name, const Cycle& fallback) {
  const Cycle cycle{.period = config.Size(name + "_period", fallback.period),
                    .offset = config.Count(name + "_offset", fallback.offset)};
  if (cycle.offset >= cycle.period) {
    Fail("{}: key '{}_offset' is {}, and '{}_period' {}: no layer lies there", config.what(), name,
         cycle.offset, name, cycle.period);
  }
  return cycle;
}

AttentionSpec ReadAttention(const ConfigReader& config, std::int64_t hidden) {
  config.RequireAbsent("sliding_window");
  const std::int64_t heads = config.Size("num_attention_heads");
  return {.hidden = hidden,
          .heads = heads,
          .kv_heads = ReadKvHeads(config, heads),
          .head_dim = config.Size("head_dim", hidden / heads),
          .norm_eps = config.Number("rms_norm_eps", 1e-6)};
}

MoeSpec ReadMoe(const ConfigReader& config, std::int64_t hidden) {
  MoeSpec moe;
  moe.experts = {.experts = config.Size({"num_experts", "num_local_experts"}),
                 .hidden = hidden,
                 .intermediate = config.Size("intermediate_size")};
  moe.router = {.experts = moe.experts.experts,
                .top_k = ReadTopK(config, "num_experts_per_tok", moe.experts.experts),
                .renormalize = false};
  moe.gate = "router";
  return moe;
}

DecoderLayer OpenJambaLayer(const WeightReader& weights, const Jamba& family, std::int64_t layer) {
  const std::string module = fmt::format("{}layers.{}", family.prefix, layer);
  const std::int64_t hidden = family.attention.hidden;
  const double eps = family.attention.norm_eps;
  DecoderLayer opened;
  opened.mixer_norm = OpenNorm(weights, module + ".input_layernorm", hidden, eps, 0.0f);
  opened.mixer = family.attention_layers.Contains(layer)
                     ? OpenAttention(weights, module + ".self_attn", family.attention)
                     : OpenSelectiveStateSpace(weights, module + ".mamba", family.state_space);
  opened.ffn_norm = OpenNorm(weights, module + ".pre_ff_layernorm", hidden, eps, 0.0f);
  const std::string ffn = module + ".feed_forward";
  if (family.routed_layers.Contains(layer) && family.moe.experts.experts > 1) {
    OpenedMoe moe = OpenMoe(weights, ffn, family.moe);
    opened.moe = std::move(moe.block);
    opened.expert_layout = std::move(moe.layout);
  } else {
    opened.dense = OpenFeedForward(weights, ffn, hidden, family.moe.experts.intermediate);
  }
  return opened;
}

}  // namespace

bool MatchesJamba(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"jamba"});
}

std::unique_ptr<Model> DescribeJamba(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  config.RequireText("hidden_act", "silu");
  const std::int64_t hidden = config.Size("hidden_size");
  const std::int64_t layers = config.Size("num_hidden_layers");
  Jamba family;
  family.prefix = FindPrefix(checkpoint, {"model."}, "embed_tokens.weight");
  family.attention_layers = ReadCycle(config, "attn_layer", {.period = 8, .offset = 4});
  family.routed_layers = ReadCycle(config, "expert_layer", {.period = 2, .offset = 1});
  family.attention = ReadAttention(config, hidden);
  family.state_space = ReadSelectiveStateSpace(config, hidden, family.attention.norm_eps);
  family.moe = ReadMoe(config, hidden);

  std::int64_t full = 0;
  for (std::int64_t n = 0; n < layers; ++n) full += family.attention_layers.Contains(n) ? 1 : 0;
  DecoderSpec spec;
  spec.info = {.family = "jamba",
               .layers = layers,
               .hidden = hidden,
               .vocab = config.Size("vocab_size"),
               .experts = family.moe.experts.experts,
               .top_k = family.moe.router.top_k,
               .attention = fmt::format("{} layers of Mamba, {} of attention without positions",
                                        layers - full, full)};
  spec.embedding = family.prefix + "embed_tokens";
  spec.final_norm = family.prefix + "final_layernorm";
  spec.head = FindHead(checkpoint, spec.embedding);
  spec.norm_eps = family.attention.norm_eps;
  spec.open_layer = [family](const WeightReader& weights, std::int64_t layer) {
    return OpenJambaLayer(weights, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
