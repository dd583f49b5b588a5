// Against what is computed here from the logits and routers of single forward passes.
// SPDX-License-Identifier: Apache-2.0
#include "measure/eval.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/error.h"
#include "base/parallel.h"
#include "base/random.h"
#include "measure/summary.h"
#include "stream/forward.h"

namespace cacheready {
namespace {

const Model& Reference() {
  static const Checkpoint checkpoint =
      Checkpoint::Open(CACHEREADY_SOURCE_DIR "/models/reference-fp8");
  static const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  return *model;
}

Arithmetic ArithmeticOf(std::string_view profile) {
  return {.profile = &GetProfile(profile), .dither_seed = {}};
}

std::vector<Document> RandomDocuments(std::initializer_list<std::int64_t> lengths) {
  RandomStream random(11);
  std::vector<Document> documents;
  for (const std::int64_t length : lengths) {
    Document document;
    for (std::int64_t n = 0; n < length; ++n) {
      document.ids.push_back(static_cast<std::int32_t>(random.Below(4096)));
    }
    document.domain = std::string(1, documents.size() % 2 == 0 ? 'a' : 'b');
    documents.push_back(std::move(document));
  }
  return documents;
}

std::vector<Variant> BaseAndServed() {
  return {{.name = "base", .arithmetic = ArithmeticOf("fp32")},
          {.name = "served", .arithmetic = ArithmeticOf("fp8-w8a8")}};
}

TokenBatch BatchOf(const Document& document) {
  TokenBatch batch;
  batch.ids = document.ids;
  batch.bounds.push_back(batch.tokens());
  return batch;
}

// log p of every token of the vocabulary, in long double.
std::vector<long double> LogProbabilities(std::span<const float> logits) {
  long double sum = 0;
  for (const float z : logits) sum += std::exp(static_cast<long double>(z));
  std::vector<long double> logs;
  for (const float z : logits) logs.push_back(static_cast<long double>(z) - std::log(sum));
  return logs;
}

TEST(Evaluate, AgreesWithLikelihoodAndDivergenceOfSingleForwardPasses) {
  const std::vector<Document> documents = RandomDocuments({40, 1, 25, 0, 2});
  const Evaluation evaluation = Evaluate(Reference(), documents, BaseAndServed());
  ASSERT_EQ(evaluation.scored(), 39 + 24 + 1);
  EXPECT_EQ(evaluation.tokens(), 68);
  std::size_t scored = 0;
  for (std::size_t d = 0; d < documents.size(); ++d) {
    if (documents[d].ids.size() < 2) continue;
    const Matrix base = RunForward(Reference(), BatchOf(documents[d]), ArithmeticOf("fp32")).logits;
    const Matrix served =
        RunForward(Reference(), BatchOf(documents[d]), ArithmeticOf("fp8-w8a8")).logits;
    for (std::size_t t = 1; t < documents[d].ids.size(); ++t, ++scored) {
      const auto row = static_cast<std::int64_t>(t - 1);
      const auto p = LogProbabilities(base.row(row)), q = LogProbabilities(served.row(row));
      const auto target = static_cast<std::size_t>(documents[d].ids[t]);
      long double kl = 0;
      for (std::size_t v = 0; v < p.size(); ++v) kl += std::exp(p[v]) * (p[v] - q[v]);
      const TokenScores& scores = evaluation.variants[1].scores;
      EXPECT_EQ(evaluation.document_of_scored[scored], static_cast<std::int32_t>(d));
      EXPECT_NEAR(evaluation.variants[0].scores.nll[scored], static_cast<double>(-p[target]),
                  1e-10);
      EXPECT_NEAR(scores.nll[scored], static_cast<double>(-q[target]), 1e-10);
      EXPECT_NEAR(scores.kl[scored], static_cast<double>(kl), 1e-12);
      EXPECT_GT(scores.kl[scored], 0);
      EXPECT_EQ(scores.same_top[scored] != 0,
                std::ranges::max_element(p) - p.begin() == std::ranges::max_element(q) - q.begin());
    }
  }
  EXPECT_EQ(scored, 64u);
}

TEST(Evaluate, CountsTheSelectionsThatDifferBetweenSingleForwardPasses) {
  const std::vector<Document> documents = RandomDocuments({90});
  const Evaluation evaluation = Evaluate(Reference(), documents, BaseAndServed());
  const SelectionFlips flips =
      CompareSelections(evaluation.variants[0].selections, evaluation.variants[1].selections);
  const auto base = RunForward(Reference(), BatchOf(documents[0]), ArithmeticOf("fp32")).routers;
  const auto served =
      RunForward(Reference(), BatchOf(documents[0]), ArithmeticOf("fp8-w8a8")).routers;
  const auto set_of = [](const Routing& routing, std::int64_t t) {
    const auto ids = routing.ids_of(t);
    return std::set<std::int32_t>(ids.begin(), ids.end());
  };
  std::int64_t total = 0;
  for (std::size_t n = 0; n < evaluation.variants[0].selections.size(); ++n) {
    const std::int64_t layer = evaluation.variants[0].selections[n].layer;
    std::int64_t differ = 0;
    for (std::int64_t t = 0; t < 90; ++t) {
      differ += set_of(base.at(layer).routing, t) != set_of(served.at(layer).routing, t) ? 1 : 0;
    }
    EXPECT_EQ(flips.by_layer[n], differ);
    total += differ;
  }
  EXPECT_GT(total, 0);
  EXPECT_EQ(flips.total, total);
}

TEST(Evaluate, TheBaseAgainstItselfDoesNotDiffer) {
  const std::vector<Variant> twice = {{.name = "base", .arithmetic = ArithmeticOf("fp8-w8a8")},
                                      {.name = "again", .arithmetic = ArithmeticOf("fp8-w8a8")}};
  const Evaluation evaluation = Evaluate(Reference(), RandomDocuments({30, 30}), twice);
  EXPECT_EQ(EstimateKl(evaluation, 1, {}).upper, 0);
  EXPECT_EQ(SameTopShare(evaluation, 1), 1);
  EXPECT_EQ(
      CompareSelections(evaluation.variants[0].selections, evaluation.variants[1].selections).total,
      0);
}

TEST(Evaluate, GivesTheSameJsonAtAnyNumberOfThreads) {
  const auto run = [](int threads) {
    SetNumThreads(threads);
    return WriteJson(
        ToJson(Evaluate(Reference(), RandomDocuments({40, 30, 20, 10}), BaseAndServed()), {}));
  };
  const int threads = NumThreads();
  const std::string one = run(1), three = run(3);
  SetNumThreads(threads);
  EXPECT_EQ(one, three);
}

TEST(Evaluate, RefusesTextInWhichNoTokenFollowsAnother) {
  EXPECT_THROW(Evaluate(Reference(), RandomDocuments({1, 1}), BaseAndServed()), Error);
  EXPECT_THROW(Evaluate(Reference(), {}, BaseAndServed()), Error);
}

}  // namespace
}  // namespace cacheready
