// Llama 4, the language model: attention in chunks with rotary positions and normed queries and
// keys, every fourth layer over all tokens without positions, its queries scaled with their
// position; sigmoid of the best logits as weights of the experts' inputs, a shared ungated expert;
// dense layers between the routed ones. The vision tower is not read.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "model/attention.h"
#include "model/config_reader.h"
#include "model/decoder_reader.h"
#include "model/families/families.h"
#include "model/rotary.h"

namespace cacheready {
namespace {

constexpr std::string_view kChunked = "chunked_attention";
constexpr std::string_view kFull = "full_attention";

// What a layer does apart from the others.
struct LayerKind {
  bool chunked = false, rotary = false, routed = false;
};

struct Llama4 {
  std::string prefix;
  DecoderSpec decoder;
  std::vector<LayerKind> layers;
  AttentionSpec attention;  // without what is in LayerKind
  std::int64_t chunk = 0;
  bool norms_rotated_heads = false;
  std::optional<QueryTemperature> temperature;  // of layers without positions
  Rotary rotary;
  MoeSpec moe;
  std::int64_t dense_width = 0;
};

MoeSpec ReadMoe(const ConfigReader& config, std::int64_t hidden) {
  MoeSpec moe;
  moe.experts = {.experts = config.Size({"num_local_experts", "num_experts"}),
                 .hidden = hidden,
                 .intermediate = config.Size("intermediate_size")};
  moe.router = {.experts = moe.experts.experts,
                .top_k = ReadTopK(config, "num_experts_per_tok", moe.experts.experts),
                .scoring = Scoring::kLogitsSigmoid,
                .renormalize = false,
                .weights_on_input = true};
  moe.gate = "router";
  moe.shared = "shared_expert";
  moe.shared_width = moe.experts.intermediate;
  return moe;
}

// moe_layers where it is given, else every interleave_moe_layer_step-th layer, the last of each.
std::vector<bool> ReadRoutedLayers(const ConfigReader& config, std::int64_t layers) {
  std::vector<bool> routed(static_cast<std::size_t>(layers), false);
  if (config.Has("moe_layers")) {
    for (const std::int64_t layer : config.Integers("moe_layers")) {
      if (layer < 0 || layer >= layers) {
        Fail("{}: key 'moe_layers' holds {}, and there are {} layers", config.what(), layer,
             layers);
      }
      routed[static_cast<std::size_t>(layer)] = true;
    }
    return routed;
  }
  const std::int64_t step = config.Size("interleave_moe_layer_step", 1);
  for (std::int64_t layer = step - 1; layer < layers; layer += step) {
    routed[static_cast<std::size_t>(layer)] = true;
  }
  return routed;
}

std::vector<LayerKind> ReadLayerKinds(const ConfigReader& config, std::int64_t layers) {
  const std::vector<std::int64_t> rotary = config.Integers("no_rope_layers");  // 1: with positions
  const std::vector<std::string> types = config.Texts("layer_types");
  const auto check = [&](const char* key, std::size_t size) {
    if (size == 0 || static_cast<std::int64_t>(size) >= layers) return;
    Fail("{}: key '{}' has {} entries for {} layers", config.what(), key, size, layers);
  };
  check("no_rope_layers", rotary.size());
  check("layer_types", types.size());
  const std::int64_t interval = config.Size("no_rope_layer_interval", 4);
  const std::vector<bool> routed = ReadRoutedLayers(config, layers);
  std::vector<LayerKind> kinds(static_cast<std::size_t>(layers));
  for (std::size_t n = 0; n < kinds.size(); ++n) {
    const auto layer = static_cast<std::int64_t>(n);
    kinds[n].rotary = rotary.empty() ? (layer + 1) % interval != 0 : rotary[n] != 0;
    kinds[n].chunked = types.empty() ? kinds[n].rotary : types[n] == kChunked;
    kinds[n].routed = routed[n];
    if (types.empty() || types[n] == kChunked || types[n] == kFull) continue;
    Fail("{}: key 'layer_types' holds '{}', expected '{}' or '{}'", config.what(), types[n],
         kChunked, kFull);
  }
  return kinds;
}

AttentionSpec AttentionOf(const Llama4& family, const LayerKind& kind) {
  AttentionSpec attention = family.attention;
  if (kind.chunked) attention.chunk = family.chunk;
  if (kind.rotary) {
    attention.rotary = family.rotary;
    if (family.norms_rotated_heads) attention.qk_norm = QkNorm::kUnitHead;
  } else {
    attention.temperature = family.temperature;
  }
  return attention;
}

DecoderLayer OpenLlama4Layer(const WeightReader& weights, const Llama4& family,
                             std::int64_t layer) {
  const LayerKind& kind = family.layers[static_cast<std::size_t>(layer)];
  const std::string module = fmt::format("{}layers.{}", family.prefix, layer);
  DecoderLayer opened = OpenLayerNorms(weights, module, family.decoder);
  opened.mixer = OpenAttention(weights, module + ".self_attn", AttentionOf(family, kind));
  const std::string ffn = module + ".feed_forward";
  if (kind.routed) {
    OpenRoutedPart(weights, ffn, family.moe, opened);
  } else {
    opened.dense = OpenFeedForward(weights, ffn, family.attention.hidden, family.dense_width);
  }
  return opened;
}

AttentionSpec ReadPlainAttention(const ConfigReader& config, const DecoderSpec& decoder) {
  AttentionSpec attention = ReadAttention(config, decoder);
  attention.input_bias = attention.output_bias = config.Flag("attention_bias", false);
  attention.norm_after_rotary = true;
  return attention;
}

Llama4 ReadLlama4(const Checkpoint& checkpoint, const ConfigReader& config) {
  config.RequireText("hidden_act", "silu");
  config.RequireNumber("partial_rotary_factor", 1);
  Llama4 family;
  family.prefix = FindDecoderPrefix(checkpoint);
  family.decoder = ReadDecoder(checkpoint, "llama4", {.prefix = family.prefix, .norm_eps = 1e-5});
  family.layers = ReadLayerKinds(config, family.decoder.info.layers);
  family.attention = ReadPlainAttention(config, family.decoder);
  const auto is_chunked = [](const LayerKind& kind) { return kind.chunked; };
  if (std::any_of(family.layers.begin(), family.layers.end(), is_chunked)) {
    family.chunk = config.Size("attention_chunk_size");
  }
  family.norms_rotated_heads = config.Flag("use_qk_norm", true);
  if (config.FlagOrNumber("attn_temperature_tuning", true)) {
    family.temperature = {.strength = config.Number("attn_scale", 0.1),
                          .positions = config.Number("floor_scale", 8192)};
  }
  family.rotary = ReadRotary(config, family.attention.head_dim, {.theta = 500000, .partial = 1});
  family.rotary.pairs = RotaryPairs::kNeighbours;
  family.moe = ReadMoe(config, family.decoder.info.hidden);
  const auto is_dense = [](const LayerKind& kind) { return !kind.routed; };
  if (std::any_of(family.layers.begin(), family.layers.end(), is_dense)) {
    family.dense_width = config.Size("intermediate_size_mlp");
  }
  return family;
}

std::string DescribeAttention(const Llama4& family) {
  std::int64_t chunked = 0;
  for (const LayerKind& kind : family.layers) chunked += kind.chunked ? 1 : 0;
  return fmt::format("{} layers of attention in chunks of {} tokens, {} over all tokens", chunked,
                     family.chunk, static_cast<std::int64_t>(family.layers.size()) - chunked);
}

}  // namespace

bool MatchesLlama4(const Json& text_config, const Json& /*config*/) {
  return HasModelType(text_config, {"llama4_text", "llama4"});
}

std::unique_ptr<Model> DescribeLlama4(const Checkpoint& checkpoint) {
  const Llama4 family = ReadLlama4(checkpoint, ConfigReader(checkpoint));
  DecoderSpec spec = family.decoder;
  spec.info.experts = family.moe.experts.experts;
  spec.info.top_k = family.moe.router.top_k;
  spec.info.attention = DescribeAttention(family);
  spec.open_layer = [family](const WeightReader& weights, std::int64_t layer) {
    return OpenLlama4Layer(weights, family, layer);
  };
  return MakeDecoderModel(checkpoint, std::move(spec));
}

}  // namespace cacheready
