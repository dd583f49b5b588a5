// Jamba: Mamba-1 layers and, every few, attention that knows no positions; softmax routing without
// renormalization in every second layer or so, the others dense.
// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "base/error.h"
#include "model/attention.h"
#include "model/config_reader.h"
#include "model/decoder_reader.h"
#include "model/families/families.h"
#include "model/selective_state_space.h"

namespace cacheready {
namespace {

// Layers offset, offset + period, ...
struct Cycle {
  std::int64_t period = 1, offset = 0;

  bool Contains(std::int64_t layer) const { return layer % period == offset; }
};

struct Jamba {
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
  const std::string module = fmt::format("model.layers.{}", layer);
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
    OpenRoutedPart(weights, ffn, family.moe, opened);
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
  config.RequireAbsent("sliding_window");
  DecoderSpec spec = ReadDecoder(checkpoint, "jamba");
  spec.final_norm = "model.final_layernorm";
  ModelInfo& info = spec.info;
  Jamba family;
  family.attention_layers = ReadCycle(config, "attn_layer", {.period = 8, .offset = 4});
  family.routed_layers = ReadCycle(config, "expert_layer", {.period = 2, .offset = 1});
  family.attention = ReadAttention(config, spec);
  family.state_space = ReadSelectiveStateSpace(config, info.hidden, spec.norm_eps);
  family.moe = ReadMoe(config, info.hidden);

  std::int64_t full = 0;
  for (std::int64_t n = 0; n < info.layers; ++n) full += family.attention_layers.Contains(n);
  info.experts = family.moe.experts.experts;
  info.top_k = family.moe.router.top_k;
  info.attention = fmt::format("{} layers of Mamba, {} of attention without positions",
                               info.layers - full, full);
  spec.open_layer = [family](const WeightReader& weights, std::int64_t layer) {
    return OpenJambaLayer(weights, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
