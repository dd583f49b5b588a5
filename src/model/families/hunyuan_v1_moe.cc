// Hunyuan-A13B: queries and keys normed after the rotation, softmax routing that is always
// renormalized, one ungated shared part. Expert counts, widths, top k and shared experts may be
// given layer by layer. Keys of the published code that transformers does not read are followed.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/decoder_reader.h"
#include "model/families/families.h"

namespace cacheready {
namespace {

struct HunyuanMoe {
  AttentionSpec attention;
  std::vector<MoeSpec> moe;  // by layer
  std::int64_t dense_layers = 0;
  std::int64_t dense_width = 0;
};

void RefuseOtherMathematics(const ConfigReader& config) {
  config.RequireText("hidden_act", "silu");
  config.RequireFlag("mlp_bias", false);
  config.RequireFlag("use_cla", false);
  config.RequireFlag("moe_drop_tokens", false);
  config.RequireFlag("norm_topk_prob", true);
  config.RequireFlag("use_rotary_pos_emb", true);
}

// One number for all layers, or a list of them.
std::vector<std::int64_t> ByLayer(const ConfigReader& config, std::string_view key,
                                  std::int64_t layers, std::int64_t fallback) {
  if (!config.IsArray(key)) {
    return std::vector<std::int64_t>(static_cast<std::size_t>(layers), config.Count(key, fallback));
  }
  std::vector<std::int64_t> values = config.Counts(key);
  if (static_cast<std::int64_t>(values.size()) != layers) {
    Fail("{}: key '{}' has {} entries for {} layers", config.what(), key, values.size(), layers);
  }
  return values;
}

AttentionSpec ReadHunyuanAttention(const ConfigReader& config, const DecoderSpec& decoder) {
  AttentionSpec attention = ReadAttention(config, decoder);
  if (!config.Has("head_dim")) {
    attention.head_dim = config.Size("attention_head_dim", attention.head_dim);
  }
  attention.input_bias = attention.output_bias = config.Flag("attention_bias", false);
  if (config.Flag("use_qk_norm", true)) attention.qk_norm = QkNorm::kHead;
  attention.norm_after_rotary = true;
  attention.names.q_norm = "query_layernorm";
  attention.names.k_norm = "key_layernorm";
  attention.rotary = ReadRotary(config, attention.head_dim, {});
  return attention;
}

std::vector<MoeSpec> ReadHunyuanExperts(const ConfigReader& config, const DecoderSpec& decoder) {
  const std::int64_t layers = decoder.info.layers;
  const auto experts =
      ByLayer(config, config.Has("num_experts") ? "num_experts" : "num_local_experts", layers, 1);
  const auto widths =
      ByLayer(config, "moe_intermediate_size", layers, config.Size("intermediate_size"));
  const auto top_k =
      ByLayer(config, config.Has("moe_topk") ? "moe_topk" : "num_experts_per_tok", layers, 1);
  const auto shared = ByLayer(config, "num_shared_expert", layers, 1);
  const bool mixed = config.Flag("use_mixed_mlp_moe", true);
  std::vector<MoeSpec> specs;
  for (std::size_t n = 0; n < static_cast<std::size_t>(layers); ++n) {
    if (experts[n] < 1 || widths[n] < 1 || top_k[n] < 1 || top_k[n] > experts[n]) {
      Fail("{}: layer {} sends a token to {} of {} experts of width {} and {} shared ones",
           config.what(), n, top_k[n], experts[n], widths[n], shared[n]);
    }
    MoeSpec moe;
    moe.experts = {.experts = experts[n], .hidden = decoder.info.hidden, .intermediate = widths[n]};
    moe.router = {.experts = experts[n], .top_k = top_k[n]};
    moe.gate = "gate.wg";
    moe.shared = "shared_mlp";
    moe.shared_width = mixed ? shared[n] * widths[n] : 0;
    specs.push_back(std::move(moe));
  }
  return specs;
}

DecoderLayer OpenHunyuanLayer(const WeightReader& weights, const DecoderSpec& decoder,
                              const HunyuanMoe& family, std::int64_t layer) {
  const std::string module = fmt::format("model.layers.{}", layer);
  DecoderLayer opened = OpenLayerNorms(weights, module, decoder);
  opened.mixer = OpenAttention(weights, module + ".self_attn", family.attention);
  if (layer >= family.dense_layers) {
    OpenRoutedPart(weights, module + ".mlp", family.moe[static_cast<std::size_t>(layer)], opened);
  } else {
    opened.dense =
        OpenFeedForward(weights, module + ".mlp", decoder.info.hidden, family.dense_width);
  }
  return opened;
}

}  // namespace

bool MatchesHunyuanMoe(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"hunyuan_v1_moe"});
}

std::unique_ptr<Model> DescribeHunyuanMoe(const Checkpoint& checkpoint) {
  const ConfigReader config(checkpoint);
  RefuseOtherMathematics(config);
  DecoderSpec spec = ReadDecoder(checkpoint, "hunyuan_v1_moe", {.norm_eps = 1e-5});

  HunyuanMoe family;
  family.attention = ReadHunyuanAttention(config, spec);
  family.moe = ReadHunyuanExperts(config, spec);
  family.dense_layers = config.Count("moe_layer_num_skipped", 0);
  family.dense_width = config.Size("intermediate_size");

  for (const MoeSpec& moe : family.moe) {
    spec.info.experts = std::max(spec.info.experts, moe.experts.experts);
    spec.info.top_k = std::max(spec.info.top_k, moe.router.top_k);
  }
  spec.info.attention = "attention";
  spec.open_layer = [decoder = spec, family](const WeightReader& weights, std::int64_t layer) {
    return OpenHunyuanLayer(weights, decoder, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
