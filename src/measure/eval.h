// Likelihood and divergence on held-out text: base, the same under its profile, and patched
// variants, streamed together. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/statistics.h"
#include "model/model.h"
#include "stream/stream.h"
#include "text/documents.h"

namespace cacheready {

// Per scored token (every token of a document but its first), in (document, position) order.
struct TokenScores {
  std::vector<double> nll;             // nats
  std::vector<double> kl;              // KL(base || this), nats; empty for the base itself
  std::vector<std::uint8_t> same_top;  // argmax equals the base's
};

struct EvaluatedVariant {
  std::string name;
  TokenScores scores;
  // flips[layer]: tokens whose selection differs from the base's, per MoE layer (ascending), and
  // per document and layer
  std::vector<std::int64_t> flips;
};

struct Evaluation {
  std::vector<std::int32_t> document_of;  // of each scored token
  std::vector<Document> documents;
  std::vector<EvaluatedVariant> variants;  // [0] is the base
  std::vector<std::int64_t> moe_layers;
  std::int64_t tokens = 0;  // all tokens, scored or not
  // flipped[v][t]: number of MoE layers in which token t (of all tokens) chose another set than in
  // variant 0
  std::vector<std::vector<std::int32_t>> flipped_layers;
};

// Runs all variants side by side over the documents. variants[0] is the base.
Evaluation Evaluate(const Model& model, std::span<const Document> documents,
                    std::span<const Variant> variants);

// llama.cpp's ladder of a KL sample, mean with its interval by document, same-top share, per
// domain.
struct Divergence {
  MeanInterval kl;
  std::vector<std::pair<std::string, double>>
      ladder;  // "maximum", "99.9%", "99%", "95%", "90%", "median", ...
  double same_top = 0;
};
Divergence SummarizeDivergence(const Evaluation& evaluation, std::size_t variant,
                               std::uint64_t seed);
MeanInterval SummarizeNll(const Evaluation& evaluation, std::size_t variant, std::uint64_t seed);
MeanInterval SummarizeFlipRate(const Evaluation& evaluation, std::size_t variant,
                               std::uint64_t seed);  // share of token-layers

}  // namespace cacheready
