// SPDX-License-Identifier: Apache-2.0
#include "model/decoder_reader.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace cacheready {
namespace {

std::string FindHead(const Checkpoint& checkpoint) {
  const bool below = checkpoint.FindTensor("language_model.lm_head.weight") != nullptr;
  return below ? "language_model.lm_head" : "lm_head";
}

}  // namespace

DecoderSpec ReadDecoder(const Checkpoint& checkpoint, const std::string& family,
                        const DecoderDefaults& defaults) {
  const ConfigReader config(checkpoint);
  DecoderSpec spec;
  spec.info = {.family = family,
               .layers = ReadNumLayers(config),
               .hidden = config.Size("hidden_size"),
               .vocab = config.Size("vocab_size")};
  spec.embedding = defaults.prefix + "embed_tokens";
  spec.final_norm = defaults.prefix + "norm";
  spec.head = TiesWordEmbeddings(checkpoint, defaults.tied) ? spec.embedding : FindHead(checkpoint);
  spec.norm_eps = config.Number("rms_norm_eps", defaults.norm_eps);
  return spec;
}

std::string FindDecoderPrefix(const Checkpoint& checkpoint) {
  return FindPrefix(checkpoint, {"model.", "language_model.model."}, "embed_tokens.weight");
}

AttentionSpec ReadAttention(const ConfigReader& config, const DecoderSpec& decoder) {
  const std::int64_t heads = config.Size("num_attention_heads");
  AttentionSpec spec;
  spec.hidden = decoder.info.hidden;
  spec.heads = heads;
  spec.kv_heads = ReadKvHeads(config, heads);
  spec.head_dim = config.Size("head_dim", std::max<std::int64_t>(1, spec.hidden / heads));
  spec.norm_eps = decoder.norm_eps;
  spec.norm_offset = decoder.norm_offset;
  return spec;
}

std::vector<bool> ReadSparseLayers(const ConfigReader& config, std::int64_t layers) {
  const std::int64_t step = config.Size("decoder_sparse_step", 1);
  std::vector<bool> routed;
  for (std::int64_t layer = 0; layer < layers; ++layer) routed.push_back((layer + 1) % step == 0);
  for (const std::int64_t layer : config.Integers("mlp_only_layers")) {
    if (layer < 0 || layer >= layers) {
      Fail("{}: key 'mlp_only_layers' holds {}, and there are {} layers", config.what(), layer,
           layers);
    }
    routed[static_cast<std::size_t>(layer)] = false;
  }
  return routed;
}

DecoderLayer OpenLayerNorms(const WeightReader& weights, const std::string& module,
                            const DecoderSpec& decoder) {
  const auto open = [&](const char* name) {
    return decoder.norm_kind == NormKind::kLayer
               ? OpenLayerNorm(weights, module + name, decoder.info.hidden, decoder.norm_eps)
               : OpenNorm(weights, module + name, decoder.info.hidden, decoder.norm_eps,
                          decoder.norm_offset);
  };
  DecoderLayer layer;
  layer.mixer_norm = open(".input_layernorm");
  layer.ffn_norm = open(".post_attention_layernorm");
  return layer;
}

void OpenRoutedPart(const WeightReader& weights, const std::string& module, const MoeSpec& spec,
                    DecoderLayer& layer) {
  OpenedMoe opened = OpenMoe(weights, module, spec);
  layer.moe = std::move(opened.block);
  layer.expert_layout = std::move(opened.layout);
}

}  // namespace cacheready
