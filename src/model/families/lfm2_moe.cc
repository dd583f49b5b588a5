// LFM2-MoE: layers of gated short convolution and of attention with normed queries and keys;
// sigmoid routing with a bias for the choice; dense first layers. SPDX-License-Identifier:
// Apache-2.0
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/attention.h"
#include "model/config_reader.h"
#include "model/decoder_model.h"
#include "model/experts.h"
#include "model/families/families.h"
#include "model/moe_reader.h"
#include "model/rotary.h"
#include "model/short_convolution.h"

namespace cacheready {
namespace {

constexpr std::string_view kConvolution = "conv";
constexpr std::string_view kFull = "full_attention";

struct Lfm2Moe {
  std::string prefix;
  std::vector<std::string> layer_types;
  AttentionSpec attention;
  ShortConvolutionSpec convolution;
  MoeSpec moe;
  std::int64_t dense_layers = 0, dense_width = 0;
};

AttentionSpec ReadAttention(const ConfigReader& config, std::int64_t hidden) {
  config.RequireNumber("partial_rotary_factor", 1);
  const std::int64_t heads = config.Size("num_attention_heads");
  const std::int64_t head_dim = config.Size("head_dim", hidden / heads);
  return {.hidden = hidden,
          .heads = heads,
          .kv_heads = ReadKvHeads(config, heads),
          .head_dim = head_dim,
          .qk_norm = QkNorm::kHead,
          .norm_eps = config.Number("norm_eps", 1e-5),
          .rotary = ReadRotary(config, head_dim, {.theta = 1e6, .partial = 1}),
          .names = {.o = "out_proj", .q_norm = "q_layernorm", .k_norm = "k_layernorm"}};
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
  const std::string module = fmt::format("{}layers.{}", family.prefix, layer);
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
    OpenedMoe moe = OpenMoe(weights, ffn, family.moe);
    opened.moe = std::move(moe.block);
    opened.expert_layout = std::move(moe.layout);
  } else {
    opened.dense =
        OpenFeedForward(weights, ffn, hidden, family.dense_width, family.moe.projections);
  }
  return opened;
}

// tie_embedding is the older name, and what neither name says is tied.
bool TiesEmbeddings(const ConfigReader& config) {
  return config.Flag("tie_embedding", config.Flag("tie_word_embeddings", true));
}

}  // namespace

bool MatchesLfm2Moe(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"lfm2_moe"});
}

std::unique_ptr<Model> DescribeLfm2Moe(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  const std::int64_t hidden = config.Size("hidden_size");
  const std::int64_t layers = config.Size("num_hidden_layers");
  Lfm2Moe family;
  family.prefix = FindPrefix(checkpoint, {"model."}, "embed_tokens.weight");
  family.layer_types = LayerTypes(config, layers, {kConvolution, kFull}, NoDefaultLayerType);
  family.attention = ReadAttention(config, hidden);
  family.convolution = {.hidden = hidden,
                        .width = config.Size("conv_L_cache", 3),
                        .bias = config.Flag("conv_bias", false)};
  family.moe = ReadMoe(config, hidden);
  family.dense_layers = config.Count("num_dense_layers", 2);
  family.dense_width = config.Size("intermediate_size");

  const auto full = std::count(family.layer_types.begin(), family.layer_types.end(), kFull);
  DecoderSpec spec;
  spec.info = {.family = "lfm2_moe",
               .layers = layers,
               .hidden = hidden,
               .vocab = config.Size("vocab_size"),
               .experts = family.moe.experts.experts,
               .top_k = family.moe.router.top_k,
               .attention = fmt::format("{} layers of short convolution, {} of attention",
                                        layers - full, full)};
  spec.embedding = family.prefix + "embed_tokens";
  spec.final_norm = family.prefix + "embedding_norm";
  spec.head = TiesEmbeddings(config) ? spec.embedding : "lm_head";
  spec.norm_eps = family.attention.norm_eps;
  spec.open_layer = [family](const WeightReader& weights, std::int64_t layer) {
    return OpenLfm2MoeLayer(weights, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
