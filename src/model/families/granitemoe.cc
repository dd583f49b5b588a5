// Granite-MoE, with or without a shared expert: multipliers on embeddings, attention scores,
// residuals and logits; the logits of the selected experts go through a softmax of their own; gate
// and up projections fused as input_linear.
// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <utility>

#include "base/error.h"
#include "model/decoder_reader.h"
#include "model/families/families.h"

namespace cacheready {
namespace {

struct GraniteMoe {
  AttentionSpec attention;
  MoeSpec moe;
  std::int64_t shared_width = 0;  // 0: none
};

AttentionSpec ReadGraniteAttention(const ConfigReader& config, const DecoderSpec& decoder) {
  AttentionSpec attention = ReadAttention(config, decoder);
  attention.input_bias = attention.output_bias = config.Flag("attention_bias", false);
  attention.scale = static_cast<float>(config.Number("attention_multiplier", 1));
  if (!(attention.scale > 0)) {
    Fail("{}: key 'attention_multiplier' is {}, expected more than 0", config.what(),
         attention.scale);
  }
  attention.rotary = ReadRotary(config, attention.head_dim, {});
  return attention;
}

MoeSpec ReadGraniteExperts(const ConfigReader& config, const DecoderSpec& decoder) {
  MoeSpec moe;
  moe.experts = {.experts = config.Size({"num_local_experts", "num_experts"}),
                 .hidden = decoder.info.hidden,
                 .intermediate = config.Size("intermediate_size")};
  moe.router = {.experts = moe.experts.experts,
                .top_k = ReadTopK(config, "num_experts_per_tok", moe.experts.experts),
                .scoring = Scoring::kLogits};
  return moe;
}

// As published, or as transformers 5 saves it.
MoeSpec WithStoredNames(const WeightReader& weights, const std::string& module, MoeSpec moe) {
  if (weights.Has(module + ".router.weight") || weights.Has(module + ".experts.gate_up_proj")) {
    moe.gate = "router";
    return moe;
  }
  moe.gate = "router.layer";
  moe.expert_list = "";
  moe.projections.fused_gate_up = "input_linear.weight";
  moe.projections.fused_down = "output_linear.weight";
  return moe;
}

// input_linear holds the gate's rows before the up projection's.
FeedForward OpenShared(const WeightReader& weights, const std::string& module, std::int64_t hidden,
                       std::int64_t width) {
  const auto get = [&](const char* name, std::int64_t rows, std::int64_t cols) {
    const TensorView& tensor = weights.checkpoint().GetTensor(module + name);
    if (tensor.shape != std::vector<std::int64_t>{rows, cols}) {
      Fail("{}: tensor '{}' has shape {}, expected [{}, {}]", tensor.file, tensor.name,
           ShapeText(tensor.shape), rows, cols);
    }
    return tensor;
  };
  const TensorView gate_up = get(".input_linear.weight", 2 * width, hidden);
  FeedForward shared;
  shared.gate = MakePlainMatrix(gate_up, {.rows = width});
  shared.up = MakePlainMatrix(gate_up, {.row_begin = width, .rows = width});
  shared.down = MakePlainMatrix(get(".output_linear.weight", hidden, width));
  return shared;
}

DecoderLayer OpenGraniteLayer(const WeightReader& weights, const DecoderSpec& decoder,
                              const GraniteMoe& family, std::int64_t layer) {
  const std::string module = fmt::format("model.layers.{}", layer);
  const std::string moe = module + ".block_sparse_moe";
  DecoderLayer opened = OpenLayerNorms(weights, module, decoder);
  opened.mixer = OpenAttention(weights, module + ".self_attn", family.attention);
  OpenRoutedPart(weights, moe, WithStoredNames(weights, moe, family.moe), opened);
  if (family.shared_width > 0) {
    opened.moe->shared =
        OpenShared(weights, module + ".shared_mlp", decoder.info.hidden, family.shared_width);
  }
  return opened;
}

}  // namespace

bool MatchesGraniteMoe(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"granitemoe", "granitemoeshared"});
}

std::unique_ptr<Model> DescribeGraniteMoe(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  config.RequireText("hidden_act", "silu");
  const auto multiplier = [&](const char* key) {
    return static_cast<float>(config.Number(key, 1));
  };
  DecoderSpec spec = ReadDecoder(checkpoint, "granitemoe");
  spec.embedding_multiplier = multiplier("embedding_multiplier");
  spec.residual_multiplier = multiplier("residual_multiplier");
  spec.logits_divisor = multiplier("logits_scaling");
  GraniteMoe family;
  family.attention = ReadGraniteAttention(config, spec);
  family.moe = ReadGraniteExperts(config, spec);
  family.shared_width = config.Count("shared_intermediate_size", 0);

  spec.info.experts = family.moe.experts.experts;
  spec.info.top_k = family.moe.router.top_k;
  spec.info.attention = "attention";
  spec.open_layer = [decoder = spec, family](const WeightReader& weights, std::int64_t layer) {
    return OpenGraniteLayer(weights, decoder, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
