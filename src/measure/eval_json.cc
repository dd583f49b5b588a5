// An evaluation as docs/formats/eval.md describes it.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/math.h"
#include "measure/summary.h"

namespace cacheready {
namespace {

// Of exp(mean) by the delta method; the interval is that of the mean, carried over.
Json PerplexityJson(const Estimate& nll) {
  Json json;
  json["mean"] = Exp(nll.mean);
  json["low"] = Exp(nll.interval.low);
  json["high"] = Exp(nll.interval.high);
  json["standard_error"] = Exp(nll.mean) * nll.standard_error;
  return json;
}

Json TextJson(const Evaluation& evaluation) {
  std::map<std::string, EvaluatedDocument> domains;  // tokens summed
  std::map<std::string, std::int64_t> documents;
  std::int64_t longest = 0;
  for (const EvaluatedDocument& document : evaluation.documents) {
    domains[document.domain].tokens += document.tokens;
    ++documents[document.domain];
    longest = std::max(longest, document.tokens);
  }
  Json json;
  json["tokens"] = evaluation.tokens();
  json["scored_tokens"] = evaluation.scored();
  json["documents"] = evaluation.documents.size();
  json["effective_documents"] = EffectiveDocuments(evaluation);
  json["longest_context"] = longest;
  json["domains"] = Json::array();
  for (const auto& [name, domain] : domains) {
    json["domains"].push_back(
        {{"domain", name}, {"documents", documents[name]}, {"tokens", domain.tokens}});
  }
  json["scope"] = "text only: image tokens not measured";
  return json;
}

// The scored tokens of one domain.
struct DomainSums {
  std::int64_t tokens = 0;
  double nll = 0, difference = 0, kl = 0;
  std::int64_t same_top = 0;
};

Json DomainsJson(const Evaluation& evaluation, std::size_t variant) {
  std::map<std::string, DomainSums> domains;
  const TokenScores& base = evaluation.variants[0].scores;
  const TokenScores& scores = evaluation.variants[variant].scores;
  for (std::size_t n = 0; n < scores.nll.size(); ++n) {
    const auto document = static_cast<std::size_t>(evaluation.document_of_scored[n]);
    DomainSums& sums = domains[evaluation.documents[document].domain];
    ++sums.tokens;
    sums.nll += scores.nll[n];
    sums.difference += scores.nll[n] - base.nll[n];
    sums.kl += scores.kl[n];
    sums.same_top += scores.same_top[n];
  }
  Json array = Json::array();
  for (const auto& [name, sums] : domains) {
    const auto tokens = static_cast<double>(sums.tokens);
    Json json;
    json["domain"] = name;
    json["tokens"] = sums.tokens;
    json["mean_nll"] = sums.nll / tokens;
    json["ppl"] = Exp(sums.nll / tokens);
    if (variant != 0) {
      json["nll_difference"] = sums.difference / tokens;
      json["kl"] = sums.kl / tokens;
      json["same_top"] = static_cast<double>(sums.same_top) / tokens;
    }
    array.push_back(std::move(json));
  }
  return array;
}

Json BaseJson(const Evaluation& evaluation, const BootstrapOptions& options) {
  const Estimate nll = EstimateNll(evaluation, 0, options);
  const Json ppl = PerplexityJson(nll);
  Json json;
  json["name"] = evaluation.variants[0].name;
  json["profile"] = evaluation.variants[0].profile;
  json["tokens"] = evaluation.scored();
  json["mean_nll"] = nll.mean;
  json["nll"] = ToJson(nll);
  json["ppl"] = ppl["mean"];
  json["ppl_standard_error"] = ppl["standard_error"];
  return json;
}

void AddFlips(const Evaluation& evaluation, std::size_t variant,
              const EvaluationJsonOptions& options, Json& json) {
  const Selections& base = evaluation.variants[0].selections;
  const SelectionFlips flips =
      CompareSelections(base, evaluation.variants[variant].selections, options.groups);
  if (base.empty()) return;
  const Estimate share = EstimateFlips(evaluation, flips, options.bootstrap);
  json["flips"] = share.mean;
  json["flip_share"] = ToJson(share);
  if (!options.groups.empty()) {
    json["flip_kinds"] = {
        {"within", flips.within}, {"across", flips.across}, {"singleton", flips.singleton}};
  }
  json["flips_by_layer"] = Json::array();
  for (std::size_t n = 0; n < base.size(); ++n) {
    json["flips_by_layer"].push_back({{"layer", base[n].layer}, {"tokens", flips.by_layer[n]}});
  }
}

Json ToJson(const Verdict& verdict) {
  Json json;
  json["outcome"] = verdict.outcome;
  json["margin"] = verdict.margin;
  json["lower"] = verdict.difference.lower;
  json["upper"] = verdict.difference.upper;
  json["effective_documents"] = verdict.effective_documents;
  json["design_effect"] = verdict.difference.design_effect;
  json["tokens_to_decide"] =
      verdict.tokens_to_decide ? Json(*verdict.tokens_to_decide) : Json(nullptr);
  json["text"] = VerdictText(verdict);
  return json;
}

Json VariantJson(const Evaluation& evaluation, std::size_t variant,
                 const EvaluationJsonOptions& options) {
  const Estimate nll = EstimateNll(evaluation, variant, options.bootstrap);
  Json json;
  json["name"] = evaluation.variants[variant].name;
  json["profile"] = evaluation.variants[variant].profile;
  json["nll"] = ToJson(nll);
  json["ppl"] = PerplexityJson(nll);
  if (variant != 0) {
    const Estimate difference = EstimateNllDifference(evaluation, variant, options.bootstrap);
    json["nll_difference"] = ToJson(difference);
    json["kl"] = ToJson(EstimateKl(evaluation, variant, options.bootstrap));
    json["ladder"] = Json::object();
    for (const auto& [step, kl] : KlLadder(evaluation, variant)) json["ladder"][step] = kl;
    json["same_top"] = SameTopShare(evaluation, variant);
    AddFlips(evaluation, variant, options, json);
    json["judgement"] = ToJson(JudgeDifference(difference, EffectiveDocuments(evaluation),
                                               evaluation.scored(), options.margin));
  }
  json["per_domain"] = DomainsJson(evaluation, variant);
  return json;
}

// Index of the variant that the verdict is about; 0 if there is nothing but the base.
std::size_t JudgedVariant(const Evaluation& evaluation, const std::string& judged) {
  if (judged.empty()) return evaluation.variants.size() - 1;
  for (std::size_t v = 1; v < evaluation.variants.size(); ++v) {
    if (evaluation.variants[v].name == judged) return v;
  }
  Fail("no variant of the evaluation is called '{}'", judged);
}

}  // namespace

Json ToJson(const Estimate& estimate) {
  Json json;
  json["mean"] = estimate.mean;
  json["low"] = estimate.interval.low;
  json["high"] = estimate.interval.high;
  json["upper"] = estimate.upper;
  json["standard_error"] = estimate.standard_error;
  json["design_effect"] = estimate.design_effect;
  return json;
}

Json ToJson(const Evaluation& evaluation, const EvaluationJsonOptions& options) {
  const std::size_t judged = JudgedVariant(evaluation, options.judged);
  Json json;
  json["schema"] = "cacheready.eval/1";
  json["seed"] = options.bootstrap.seed;
  json["bootstrap_draws"] = options.bootstrap.draws;
  json["margin"] = options.margin;
  json["text"] = TextJson(evaluation);
  json["base"] = BaseJson(evaluation, options.bootstrap);
  json["variants"] = Json::array();
  for (std::size_t v = 0; v < evaluation.variants.size(); ++v) {
    json["variants"].push_back(VariantJson(evaluation, v, options));
  }
  json["judged"] = judged == 0 ? Json(nullptr) : Json(evaluation.variants[judged].name);
  json["verdict"] = judged == 0 ? Json(nullptr) : json["variants"][judged]["judgement"]["text"];
  return json;
}

}  // namespace cacheready
