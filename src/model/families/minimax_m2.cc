// MiniMax-M2: attention whose queries and keys are normed over the whole projection, half-rotated
// heads; sigmoid routing with a correction of the choice, always renormalized. Of
// multi-token-prediction layers, which follow the decoder's, only the routers are read.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "model/attention.h"
#include "model/config_reader.h"
#include "model/decoder_reader.h"
#include "model/families/families.h"
#include "model/rotary.h"

namespace cacheready {
namespace {

struct MiniMaxM2 {
  DecoderSpec decoder;
  std::string ffn;  // module below a layer
  AttentionSpec attention;
  MoeSpec moe;
};

void RefuseOtherMathematics(const ConfigReader& config) {
  config.RequireText("hidden_act", "silu");
  config.RequireText("scoring_func", "sigmoid");
  config.RequireText("qk_norm_type", "per_layer");
  config.RequireFlag("use_qk_norm", true);
  config.RequireInteger("shared_intermediate_size", 0);
  const std::vector<std::int64_t> kinds = config.Integers("attn_type_list");
  if (std::any_of(kinds.begin(), kinds.end(), [](std::int64_t kind) { return kind != 1; })) {
    Fail(
        "{}: key 'attn_type_list' holds another kind than 1 (softmax attention), and only that is "
        "implemented",
        config.what());
  }
}

// The older key rotary_dim counts columns.
double ReadPartialRotary(const ConfigReader& config, std::int64_t head_dim) {
  const double by_columns =
      static_cast<double>(config.Size("rotary_dim", head_dim)) / static_cast<double>(head_dim);
  const double partial = RotaryParameters(config).Number(
      "partial_rotary_factor", config.Number("partial_rotary_factor", by_columns));
  if (config.Has("rotary_dim") && partial != by_columns) {
    Fail(
        "{}: key 'rotary_dim' rotates {} of {} columns of a head, and 'partial_rotary_factor' is "
        "{}",
        config.what(), config.Size("rotary_dim"), head_dim, partial);
  }
  return partial;
}

MoeSpec ReadMoe(const ConfigReader& config, std::int64_t hidden) {
  MoeSpec moe;
  moe.experts = {.experts = config.Size({"num_local_experts", "num_experts"}),
                 .hidden = hidden,
                 .intermediate = config.Size("intermediate_size")};
  moe.router = {.experts = moe.experts.experts,
                .top_k = ReadTopK(config, "num_experts_per_tok", moe.experts.experts),
                .scoring = Scoring::kSigmoid};
  moe.router_role = Role::kFp32Router;
  if (config.Flag("use_routing_bias", true)) moe.selection_bias = "e_score_correction_bias";
  moe.projections = {.gate = "w1", .up = "w3", .down = "w2"};
  return moe;
}

DecoderLayer OpenMiniMaxM2Layer(const WeightReader& weights, const MiniMaxM2& family,
                                std::int64_t layer) {
  const std::string module = fmt::format("model.layers.{}", layer);
  DecoderLayer opened = OpenLayerNorms(weights, module, family.decoder);
  opened.mixer = OpenAttention(weights, module + ".self_attn", family.attention);
  OpenRoutedPart(weights, module + family.ffn, family.moe, opened);
  return opened;
}

}  // namespace

bool MatchesMiniMaxM2(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"minimax_m2"});
}

std::unique_ptr<Model> DescribeMiniMaxM2(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  RefuseOtherMathematics(config);
  MiniMaxM2 family;
  family.decoder = ReadDecoder(checkpoint, "minimax_m2");
  ModelInfo& info = family.decoder.info;
  // transformers 5 may save under its own name of the module.
  family.ffn = checkpoint.FindTensor("model.layers.0.mlp.gate.weight") != nullptr
                   ? ".mlp"
                   : ".block_sparse_moe";
  family.attention = ReadAttention(config, family.decoder);
  family.attention.qk_norm = QkNorm::kProjection;
  const std::int64_t head_dim = family.attention.head_dim;
  family.attention.rotary =
      ReadRotary(config, head_dim, {.theta = 5e6, .partial = ReadPartialRotary(config, head_dim)});
  family.moe = ReadMoe(config, info.hidden);

  info.experts = family.moe.experts.experts;
  info.top_k = family.moe.router.top_k;
  info.mtp_routers =
      FindMtpLayers(checkpoint, "model.", info.layers, family.ffn.substr(1), family.moe);
  info.attention = "grouped-query attention";
  DecoderSpec spec = family.decoder;
  spec.open_layer = [family](const WeightReader& weights, std::int64_t layer) {
    return OpenMiniMaxM2Layer(weights, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
