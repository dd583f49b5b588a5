// Likelihood, divergence and selections on held-out text: base, the same under its profile, and
// patched variants, streamed together.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "measure/selections.h"
#include "model/model.h"
#include "stream/memory_plan.h"
#include "stream/stream.h"
#include "text/documents.h"

namespace cacheready {

// Per scored token (every token of a document but its first), in (document, position) order.
struct TokenScores {
  std::vector<double> nll;             // nats
  std::vector<double> kl;              // KL(base || this), nats; zeros for the base itself
  std::vector<std::uint8_t> same_top;  // argmax equals the base's
};

struct EvaluatedVariant {
  std::string name;
  std::string profile;
  TokenScores scores;
  Selections selections;
};

struct EvaluatedDocument {
  std::string domain;
  std::int64_t tokens = 0;  // all, scored or not
};

struct Evaluation {
  std::vector<EvaluatedDocument> documents;
  std::vector<std::int32_t> document_of_scored;  // of each scored token
  std::vector<std::int32_t> document_of_token;   // of each token
  std::vector<EvaluatedVariant> variants;        // [0] is the base

  std::int64_t tokens() const { return static_cast<std::int64_t>(document_of_token.size()); }
  std::int64_t scored() const { return static_cast<std::int64_t>(document_of_scored.size()); }
};

// Runs all variants side by side over the documents; variants[0] is the base. Logits are held a
// block of tokens at a time. Fails if no document has two tokens.
Evaluation Evaluate(const Model& model, std::span<const Document> documents,
                    std::span<const Variant> variants);
// What it needs besides weights, at most, with so many variants.
MemoryUse EvaluationMemory(const Model& model, std::int64_t tokens, std::size_t variants);

}  // namespace cacheready
