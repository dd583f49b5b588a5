// Means of an evaluation with their intervals by document, and the verdict.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/statistics.h"
#include "measure/eval.h"

namespace cacheready {

// Below this many effective documents a number is indicative, and there is no verdict.
inline constexpr double kMinEffectiveDocuments = 20;

struct BootstrapOptions {
  std::uint64_t seed = 0;
  int draws = 2000;
};

// A token-weighted mean with bootstrap limits, documents resampled whole.
struct Estimate {
  double mean = 0;
  Interval interval;  // two-sided 95 %
  double lower = 0;   // one-sided 95 % each: together the two-sided 90 %
  double upper = 0;
  double standard_error = 0;
  double design_effect = 1;
};
Estimate EstimateMean(const Clustered& data, const BootstrapOptions& options,
                      IntervalKind kind = IntervalKind::kStudentized);
Json ToJson(const Estimate& estimate);  // mean, low, high, upper, standard_error, design_effect

// (sum n)^2 / sum n^2 over the scored tokens n of the documents.
double EffectiveDocuments(const Evaluation& evaluation);

Estimate EstimateNll(const Evaluation& evaluation, std::size_t variant,
                     const BootstrapOptions& options);
// Paired, this - base.
Estimate EstimateNllDifference(const Evaluation& evaluation, std::size_t variant,
                               const BootstrapOptions& options);
// Limits of the kind kBca: few tokens of few documents may hold all of it.
Estimate EstimateKl(const Evaluation& evaluation, std::size_t variant,
                    const BootstrapOptions& options);
// Share of token-layers whose selection differs from the base's. Requires routed layers.
Estimate EstimateFlips(const Evaluation& evaluation, const SelectionFlips& flips,
                       const BootstrapOptions& options);
double SameTopShare(const Evaluation& evaluation, std::size_t variant);

// llama.cpp's ladder of a KL sample: maximum, 99.9, 99, 95, 90 %, median, 10, 5, 1, 0.1 %, minimum.
std::vector<std::pair<std::string, double>> KlLadder(const Evaluation& evaluation,
                                                     std::size_t variant);

// Two one-sided 5 % tests of the paired NLL difference against -margin and +margin.
struct Verdict {
  // "equivalent": both limits inside the margin. "different": both beyond it on one side.
  // "undecided": neither. "indicative": too few effective documents for any of these.
  std::string outcome;
  double margin = 0;
  Estimate difference;
  double effective_documents = 0;
  // Scored tokens that would decide with 80 % power if the difference and its spread stayed as
  // observed; empty if decided, or if the difference is the margin itself.
  std::optional<std::int64_t> tokens_to_decide;
};
Verdict JudgeDifference(const Estimate& difference, double effective_documents,
                        std::int64_t scored_tokens, double margin);
std::string VerdictText(const Verdict& verdict);  // one phrase for people

struct EvaluationJsonOptions {
  BootstrapOptions bootstrap;
  double margin = 0.005;      // nats per token, declared before
  GroupsByLayer groups = {};  // to tell flips within a group from others; may be empty
  std::string judged = {};    // name of the variant that `verdict` is about; "" = the last
};
// "cacheready.eval/1" (docs/formats/eval.md). Fails if no variant has the name `judged`.
Json ToJson(const Evaluation& evaluation, const EvaluationJsonOptions& options);

}  // namespace cacheready
