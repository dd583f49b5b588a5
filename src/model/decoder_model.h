// The model that nearly all families are: embedding, pre-norm layers of a mixer and a feed-forward
// part, final norm, head. A family reads its config and says how one layer is opened.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "checkpoint/checkpoint.h"
#include "model/mixer.h"
#include "model/model.h"
#include "model/norm.h"
#include "model/weight_reader.h"

namespace cacheready {

// h += m mixer(norm(h)); h += m ffn(norm(h)), with m the spec's residual_multiplier. Exactly one of
// `moe` and `dense`.
struct DecoderLayer {
  Norm mixer_norm;
  std::unique_ptr<Mixer> mixer;
  Norm ffn_norm;
  std::optional<MoeBlock> moe;
  std::string expert_layout;  // of `moe`: "per-expert" or "fused"
  std::optional<FeedForward> dense;
};

struct DecoderSpec {
  // Of info, the family fills in family, layers, hidden, vocab, experts, top_k, attention and
  // mtp_routers; the rest comes from the opened layers.
  ModelInfo info;
  std::string embedding;       // module of the embedding, [vocab, hidden]
  std::string final_norm;      // module
  std::string head;            // module, [vocab, hidden]; equal to `embedding` where they are tied
  std::string head_bias = {};  // tensor, [vocab]; "" = none
  NormKind norm_kind = NormKind::kRms;  // of the final norm
  double norm_eps = 1e-6;
  float norm_offset = 0;
  float embedding_multiplier = 1;
  float residual_multiplier = 1;  // on what a mixer or a feed-forward part adds
  float logits_divisor = 1;
  // Must open every tensor that the layer uses. Called from several threads at once.
  std::function<DecoderLayer(const WeightReader& weights, std::int64_t layer)> open_layer;
};

// Opens every layer once from the headers, so that a missing or misshapen tensor is found here.
std::unique_ptr<Model> MakeDecoderModel(const Checkpoint& checkpoint, DecoderSpec spec);

}  // namespace cacheready
