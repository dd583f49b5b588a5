// LFM2-MoE: layers of gated short convolution and of attention with normed queries and keys;
// sigmoid routing with a bias for the choice; dense first layers. SPDX-License-Identifier:
// Apache-2.0
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "model/attention.h"
#include "model/config_reader.h"
#include "model/decoder_reader.h"
#include "model/families/families.h"
#include "model/rotary.h"
#include "model/short_convolution.h"

namespace cacheready {
namespace {

constexpr std::string_view kConvolution = "conv";
constexpr std::string_view kFull = "full_attention";

struct Lfm2Moe {
  std::vector<std::string> layer_types;
  AttentionSpec attention;
  ShortConvolutionSpec convolution;
  MoeSpec moe;
  std::int64_t dense_layers = 0, dense_width = 0;
};

DecoderSpec ReadLfm2Decoder(const Checkpoint& checkpoint, const ConfigReader& config) {
  DecoderSpec decoder = ReadDecoder(checkpoint, "lfm2_moe", {.tied = true});
  decoder.norm_eps = config.Number("norm_eps", 1e-5);
  decoder.final_norm = "model.embedding_norm";
  if (config.Has("tie_embedding")) {  // the older name
    decoder.head = config.Flag("tie_embedding", true) ? decoder.embedding : "lm_head";
  }
  return decoder;
}

AttentionSpec ReadNormedAttention(const ConfigReader& config, const DecoderSpec& decoder) {
  config.RequireNumber("partial_rotary_factor", 1);
  AttentionSpec attention = ReadAttention(config, decoder);
  attention.qk_norm = QkNorm::kHead;
  attention.rotary = ReadRotary(config, attention.head_dim, {.theta = 1e6, .partial = 1});
  attention.names.o = "out_proj";
  attention.names.q_norm = "q_layernorm";
  attention.names.k_norm = "k_layernorm";
  return attention;
}

MoeSpec ReadMoe(const ConfigReader& config, std::int64_t hidden) {
  MoeSpec moe;
  moe.experts = {.experts = config.Size("num_experts"),
                 .hidden = hidden,
                 .intermediate = config.Size("moe_intermediate_size")};
  moe.router = {.experts = moe.experts.experts,
                .top_k = ReadTopK(config, "num_experts_per_tok", moe.experts.experts),
                .scoring = Scoring::kSigmoid,
                .renormalize = config.Flag("norm_topk_prob", true),
                .renormalize_epsilon = 1e-6,
                .scaling = config.Number("routed_scaling_factor", 1.0)};
  if (config.Flag("use_expert_bias", true)) moe.selection_bias = "expert_bias";
  moe.projections = {.gate = "w1", .up = "w3", .down = "w2"};
  return moe;
}

std::string NoDefaultLayerType(const ConfigReader& config, std::int64_t /*layer*/) {
  Fail("{}: key 'layer_types' is missing", config.what());
}

DecoderLayer OpenLfm2MoeLayer(const WeightReader& weights, const Lfm2Moe& family,
                              std::int64_t layer) {
  const std::string module = fmt::format("model.layers.{}", layer);
  const std::int64_t hidden = family.attention.hidden;
  const double eps = family.attention.norm_eps;
  DecoderLayer opened;
  opened.mixer_norm = OpenNorm(weights, module + ".operator_norm", hidden, eps, 0.0f);
  opened.mixer = family.layer_types[static_cast<std::size_t>(layer)] == kFull
                     ? OpenAttention(weights, module + ".self_attn", family.attention)
                     : OpenShortConvolution(weights, module + ".conv", family.convolution);
  opened.ffn_norm = OpenNorm(weights, module + ".ffn_norm", hidden, eps, 0.0f);
  const std::string ffn = module + ".feed_forward";
  if (layer >= family.dense_layers) {
    OpenRoutedPart(weights, ffn, family.moe, opened);
  } else {
    opened.dense =
        OpenFeedForward(weights, ffn, hidden, family.dense_width, family.moe.projections);
  }
  return opened;
}

}  // namespace

bool MatchesLfm2Moe(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"lfm2_moe"});
}

std::unique_ptr<Model> DescribeLfm2Moe(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  DecoderSpec spec = ReadLfm2Decoder(checkpoint, config);
  ModelInfo& info = spec.info;
  Lfm2Moe family;
  family.layer_types = LayerTypes(config, info.layers, {kConvolution, kFull}, NoDefaultLayerType);
  family.attention = ReadNormedAttention(config, spec);
  family.convolution = {.hidden = info.hidden,
                        .width = config.Size("conv_L_cache", 3),
                        .bias = config.Flag("conv_bias", false)};
  family.moe = ReadMoe(config, info.hidden);
  family.dense_layers = config.Count("num_dense_layers", 2);
  family.dense_width = config.Size("intermediate_size");

  const auto full = std::count(family.layer_types.begin(), family.layer_types.end(), kFull);
  info.experts = family.moe.experts.experts;
  info.top_k = family.moe.router.top_k;
  info.attention =
      fmt::format("{} layers of short convolution, {} of attention", info.layers - full, full);
  spec.open_layer = [family](const WeightReader& weights, std::int64_t layer) {
    return OpenLfm2MoeLayer(weights, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
