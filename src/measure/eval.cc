// SPDX-License-Identifier: Apache-2.0
#include "measure/eval.h"

#include "base/error.h"
#include "base/parallel.h"
#include "measure/token_scores.h"

namespace cacheready {
namespace {

constexpr std::int64_t kNotScored = -1;

TokenBatch BatchOf(std::span<const Document> documents) {
  TokenBatch batch;
  for (const Document& document : documents) {
    batch.ids.insert(batch.ids.end(), document.ids.begin(), document.ids.end());
    batch.bounds.push_back(batch.tokens());
  }
  return batch;
}

// Which documents and tokens there are; `scored_after` [tokens] gets the index among the scored
// tokens of the token that follows, kNotScored at the end of a document.
Evaluation LayOut(std::span<const Document> documents, std::span<const Variant> variants,
                  std::vector<std::int64_t>& scored_after) {
  Evaluation evaluation;
  for (const Document& document : documents) {
    const auto index = static_cast<std::int32_t>(evaluation.documents.size());
    evaluation.documents.push_back(
        {document.domain, static_cast<std::int64_t>(document.ids.size())});
    for (std::size_t n = 0; n < document.ids.size(); ++n) {
      evaluation.document_of_token.push_back(index);
      if (n + 1 == document.ids.size()) {
        scored_after.push_back(kNotScored);
        continue;
      }
      scored_after.push_back(evaluation.scored());
      evaluation.document_of_scored.push_back(index);
    }
  }
  if (evaluation.scored() == 0) {
    Fail("the text has {} tokens in {} documents and none follows another: nothing to predict",
         evaluation.tokens(), evaluation.documents.size());
  }
  const auto scored = static_cast<std::size_t>(evaluation.scored());
  for (const Variant& variant : variants) {
    evaluation.variants.push_back(
        {.name = variant.name,
         .profile = std::string(variant.arithmetic.profile->name),
         .scores = {std::vector<double>(scored), std::vector<double>(scored),
                    std::vector<std::uint8_t>(scored)},
         .selections = {}});
  }
  return evaluation;
}

void ScoreBlock(std::int64_t first_token, std::span<const Matrix> logits,
                std::span<const std::int32_t> ids, std::span<const std::int64_t> scored_after,
                Evaluation& evaluation) {
  ParallelFor(logits.front().rows(), [&](std::int64_t row) {
    const auto token = static_cast<std::size_t>(first_token + row);
    if (scored_after[token] == kNotScored) return;
    std::vector<std::span<const float>> rows;
    for (const Matrix& of_variant : logits) rows.push_back(of_variant.row(row));
    const std::vector<TokenScore> scores = ScoreToken(rows, ids[token + 1]);
    const auto index = static_cast<std::size_t>(scored_after[token]);
    for (std::size_t v = 0; v < scores.size(); ++v) {
      TokenScores& of_variant = evaluation.variants[v].scores;
      of_variant.nll[index] = scores[v].nll;
      of_variant.kl[index] = scores[v].kl;
      of_variant.same_top[index] = scores[v].same_top ? 1 : 0;
    }
  });
}

}  // namespace

Evaluation Evaluate(const Model& model, std::span<const Document> documents,
                    std::span<const Variant> variants) {
  CR_CHECK(!variants.empty(), "no base to evaluate");
  std::vector<std::int64_t> scored_after;
  Evaluation evaluation = LayOut(documents, variants, scored_after);
  const TokenBatch batch = BatchOf(documents);

  const auto keep_selections = [&](std::int64_t index, const Layer& layer,
                                   std::span<const LayerActivations> activations) {
    if (layer.moe() == nullptr) return;
    for (std::size_t v = 0; v < activations.size(); ++v) {
      evaluation.variants[v].selections.push_back(SelectionsOf(index, activations[v].routing));
    }
  };
  StreamState state = BeginStream(model, batch, variants);
  RunLayers(model, batch, variants, keep_selections, state);
  RunHead(model, variants, state, [&](std::int64_t first, std::span<const Matrix> logits) {
    ScoreBlock(first, logits, batch.ids, scored_after, evaluation);
  });
  return evaluation;
}

MemoryUse EvaluationMemory(const Model& model, std::int64_t tokens, std::size_t variants) {
  MemoryUse use = StreamMemory(model, tokens, static_cast<std::int64_t>(variants));
  const ModelInfo& info = model.info();
  const std::int64_t selections = static_cast<std::int64_t>(info.moe_layers.size()) * info.top_k;
  const std::int64_t kept = selections * 4 + std::int64_t{2} * 8 + 1;
  use.held_bytes += static_cast<std::uint64_t>(tokens * kept) * variants;
  return use;
}

}  // namespace cacheready
