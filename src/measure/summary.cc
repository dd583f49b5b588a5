// SPDX-License-Identifier: Apache-2.0
#include "measure/summary.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace cacheready {
namespace {

// Normal quantiles of 95 % and 80 %: a one-sided 5 % test that succeeds in four of five samples.
constexpr double kTestQuantile = 1.6448536269514722;
constexpr double kPowerQuantile = 0.8416212335729143;

Clustered ByDocument(const Evaluation& evaluation, std::vector<double> values) {
  return {std::move(values), evaluation.document_of_scored};
}

std::optional<std::int64_t> TokensToDecide(const Estimate& difference, std::int64_t tokens,
                                           double margin) {
  const double distance = std::abs(margin - std::abs(difference.mean));
  const double wanted_error = distance / (kTestQuantile + kPowerQuantile);
  const double ratio = difference.standard_error / wanted_error;
  const double needed = std::ceil(static_cast<double>(tokens) * ratio * ratio);
  if (!(needed < 1e15)) return std::nullopt;
  return static_cast<std::int64_t>(needed);
}

}  // namespace

Estimate EstimateMean(const Clustered& data, const BootstrapOptions& options, IntervalKind kind) {
  const MeanInterval two_sided = ClusteredMean(data, 0.95, options.draws, options.seed, kind);
  const MeanInterval one_sided = ClusteredMean(data, 0.90, options.draws, options.seed, kind);
  return {.mean = two_sided.mean,
          .interval = two_sided.interval,
          .lower = one_sided.interval.low,
          .upper = one_sided.interval.high,
          .standard_error = two_sided.standard_error,
          .design_effect = two_sided.design_effect};
}

double EffectiveDocuments(const Evaluation& evaluation) {
  std::vector<double> tokens(evaluation.documents.size());
  for (const std::int32_t document : evaluation.document_of_scored) {
    ++tokens[static_cast<std::size_t>(document)];
  }
  double sum = 0, squares = 0;
  for (const double n : tokens) {
    sum += n;
    squares += n * n;
  }
  return squares == 0 ? 0.0 : sum * sum / squares;
}

Estimate EstimateNll(const Evaluation& evaluation, std::size_t variant,
                     const BootstrapOptions& options) {
  return EstimateMean(ByDocument(evaluation, evaluation.variants[variant].scores.nll), options);
}

Estimate EstimateNllDifference(const Evaluation& evaluation, std::size_t variant,
                               const BootstrapOptions& options) {
  std::vector<double> difference = evaluation.variants[variant].scores.nll;
  const std::vector<double>& base = evaluation.variants[0].scores.nll;
  for (std::size_t n = 0; n < difference.size(); ++n) difference[n] -= base[n];
  return EstimateMean(ByDocument(evaluation, std::move(difference)), options);
}

Estimate EstimateKl(const Evaluation& evaluation, std::size_t variant,
                    const BootstrapOptions& options) {
  return EstimateMean(ByDocument(evaluation, evaluation.variants[variant].scores.kl), options,
                      IntervalKind::kBca);
}

Estimate EstimateFlips(const Evaluation& evaluation, const SelectionFlips& flips,
                       const BootstrapOptions& options) {
  CR_CHECK(!flips.by_layer.empty(), "flips of a model without routers");
  std::vector<double> shares;
  for (const std::int32_t layers : flips.by_token) {
    shares.push_back(static_cast<double>(layers) / static_cast<double>(flips.by_layer.size()));
  }
  return EstimateMean({std::move(shares), evaluation.document_of_token}, options);
}

double SameTopShare(const Evaluation& evaluation, std::size_t variant) {
  const std::vector<std::uint8_t>& same = evaluation.variants[variant].scores.same_top;
  const auto equal = std::count(same.begin(), same.end(), std::uint8_t{1});
  return static_cast<double>(equal) / static_cast<double>(same.size());
}

std::vector<std::pair<std::string, double>> KlLadder(const Evaluation& evaluation,
                                                     std::size_t variant) {
  constexpr std::pair<const char*, double> kSteps[] = {
      {"maximum", 1.0}, {"99.9%", 0.999}, {"99%", 0.99},   {"95%", 0.95},
      {"90%", 0.9},     {"median", 0.5},  {"10%", 0.1},    {"5%", 0.05},
      {"1%", 0.01},     {"0.1%", 0.001},  {"minimum", 0.0}};
  const std::vector<double>& kl = evaluation.variants[variant].scores.kl;
  std::vector<std::pair<std::string, double>> ladder;
  for (const auto& [name, q] : kSteps) ladder.emplace_back(name, Quantile(kl, q));
  return ladder;
}

Verdict JudgeDifference(const Estimate& difference, double effective_documents,
                        std::int64_t scored_tokens, double margin) {
  if (!(margin > 0)) Fail("--margin is {}, expected a number > 0", margin);
  Verdict verdict{.outcome = "undecided",
                  .margin = margin,
                  .difference = difference,
                  .effective_documents = effective_documents,
                  .tokens_to_decide = {}};
  if (effective_documents < kMinEffectiveDocuments) {
    verdict.outcome = "indicative";
  } else if (difference.lower > -margin && difference.upper < margin) {
    verdict.outcome = "equivalent";
  } else if (difference.lower > margin || difference.upper < -margin) {
    verdict.outcome = "different";
  } else {
    verdict.tokens_to_decide = TokensToDecide(difference, scored_tokens, margin);
  }
  return verdict;
}

std::string VerdictText(const Verdict& verdict) {
  const Estimate& difference = verdict.difference;
  std::string text = fmt::format(
      "{}: NLL difference {:.5f} nats per token (90 % interval by document {:.5f} to {:.5f}), "
      "margin {}",
      verdict.outcome, difference.mean, difference.lower, difference.upper, verdict.margin);
  if (verdict.outcome == "indicative") {
    text += fmt::format("; no verdict from {:.1f} effective documents, {:.0f} are needed",
                        verdict.effective_documents, kMinEffectiveDocuments);
  }
  if (verdict.outcome == "undecided") {
    text += fmt::format("; design effect {:.2f}", difference.design_effect);
    text += verdict.tokens_to_decide
                ? fmt::format("; about {} tokens would decide", *verdict.tokens_to_decide)
                : "; no number of tokens would decide";
  }
  return text;
}

}  // namespace cacheready
