// Router scores, selection and weights, as published: one formula per field, no family names.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "arithmetic/profile.h"
#include "base/json.h"
#include "tensor/matrix.h"

namespace cacheready {

enum class Scoring : std::uint8_t {
  kSoftmax,
  kSigmoid,
  kLogits,         // rank logits, softmax over the selected
  kLogitsSigmoid,  // rank logits, sigmoid of each of the selected
  kSparseMixer,    // rank logits, weights as SparseMixer's (router.cc), top 2
};

struct RouterSpec {
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
  Scoring scoring = Scoring::kSoftmax;
  bool renormalize = true;         // weights / sum of selected weights
  double renormalize_epsilon = 0;  // added to that sum ...
  double renormalize_floor = 0;    // ... which counts at least this
  double jitter = 0;               // of kSparseMixer: how far below the largest a logit counts
  double scaling = 1;              // routed_scaling_factor
  // The weight multiplies the expert's input instead of its output: then the layer's output is not
  // linear in the weights.
  bool weights_on_input = false;
  std::vector<float> selection_bias =
      {};  // e_score_correction_bias: for the choice only; [experts] or empty
  std::vector<float> logit_bias = {};  // added to the logits; [experts] or empty
  std::int64_t num_groups = 1;         // group-limited routing: groups of consecutive experts
  std::int64_t top_groups = 1;
};
Json ToJson(const RouterSpec& spec);
RouterSpec RouterSpecFromJson(const Json& json, std::string_view what);

struct Routing {
  std::int64_t top_k = 0;
  std::vector<std::int32_t>
      ids;                     // [tokens * top_k], by falling ranking score, ties by the tie rule
  std::vector<float> weights;  // [tokens * top_k], as they multiply the experts' outputs (inputs)
  std::vector<float> margin;   // [tokens]: ranking score of the k-th minus that of the (k+1)-th

  std::int64_t tokens() const { return static_cast<std::int64_t>(margin.size()); }
  std::span<const std::int32_t> ids_of(std::int64_t t) const {
    return {ids.data() + t * top_k, static_cast<std::size_t>(top_k)};
  }
  std::span<const float> weights_of(std::int64_t t) const {
    return {weights.data() + t * top_k, static_cast<std::size_t>(top_k)};
  }
};

// What the selection compares, [tokens, experts] (scores + selection bias; excluded routing groups
// = -inf).
Matrix RankingScores(const RouterSpec& spec, const Matrix& logits);
// Selection and weights from logits (logit_bias already added). `arithmetic` gives the tie rule and
// the rounding of the weights.
Routing Route(const RouterSpec& spec, const Matrix& logits, const Arithmetic& arithmetic);
// Weights for a selection given from outside (golden ids, replay). ids as in Routing.
std::vector<float> WeightsOfSelection(const RouterSpec& spec, const Matrix& logits,
                                      std::span<const std::int32_t> ids,
                                      const Arithmetic& arithmetic);
// The `count` best experts of each token by ranking score, ties to the lowest index: [tokens *
// count].
std::vector<std::int32_t> BestExperts(const RouterSpec& spec, const Matrix& logits,
                                      std::int64_t count);

}  // namespace cacheready
