// What nearly all families name alike: keys of the config, norms and parts of a layer.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/attention.h"
#include "model/config_reader.h"
#include "model/decoder_model.h"
#include "model/moe_reader.h"
#include "model/weight_reader.h"

namespace cacheready {

// What a family assumes where the config is silent, and where its tensors are.
struct DecoderDefaults {
  std::string prefix = "model.";
  double norm_eps = 1e-6;
  bool tied = false;
};

// num_hidden_layers, hidden_size, vocab_size, rms_norm_eps, tie_word_embeddings; embed_tokens and
// norm below the prefix, lm_head below none or, in multimodal checkpoints, below `language_model.`.
// The rest of the spec is the family's.
DecoderSpec ReadDecoder(const Checkpoint& checkpoint, const std::string& family,
                        const DecoderDefaults& defaults = {});

// Where the language model is: "model.", in multimodal checkpoints "language_model.model.".
std::string FindDecoderPrefix(const Checkpoint& checkpoint);

// num_attention_heads, num_key_value_heads, head_dim (absent: hidden / heads), rms_norm_eps. Fails
// unless the heads fit. Positions, biases and norms are the family's.
AttentionSpec ReadAttention(const ConfigReader& config, const DecoderSpec& decoder);

// Layers that `decoder_sparse_step` and `mlp_only_layers` leave routed: every n-th, counted from 1,
// less the listed ones.
std::vector<bool> ReadSparseLayers(const ConfigReader& config, std::int64_t layers);

// `module`.input_layernorm and `module`.post_attention_layernorm, as the final norm is.
DecoderLayer OpenLayerNorms(const WeightReader& weights, const std::string& module,
                            const DecoderSpec& decoder);

// Opens the routed part `module` into `layer`.
void OpenRoutedPart(const WeightReader& weights, const std::string& module, const MoeSpec& spec,
                    DecoderLayer& layer);

}  // namespace cacheready
