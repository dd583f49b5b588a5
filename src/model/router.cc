// SPDX-License-Identifier: Apache-2.0
#include "model/router.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/math.h"
#include "base/parallel.h"

namespace cacheready {
namespace {

constexpr float kExcluded = -std::numeric_limits<float>::infinity();
constexpr std::int64_t kTokensPerTask = 64;

constexpr std::pair<Scoring, std::string_view> kScoringNames[] = {
    {Scoring::kSoftmax, "softmax"},
    {Scoring::kSigmoid, "sigmoid"},
    {Scoring::kLogits, "logits"},
    {Scoring::kLogitsSigmoid, "logits-sigmoid"},
    {Scoring::kSparseMixer, "sparse-mixer"},
};

void ForEachToken(std::int64_t tokens, const std::function<void(std::int64_t)>& body) {
  const std::int64_t tasks = (tokens + kTokensPerTask - 1) / kTokensPerTask;
  ParallelFor(tasks, [&](std::int64_t task) {
    const std::int64_t end = std::min(tokens, (task + 1) * kTokensPerTask);
    for (std::int64_t t = task * kTokensPerTask; t < end; ++t) body(t);
  });
}

// In place, maximum subtracted, the sum in increasing index.
void Softmax(std::span<float> values) {
  const float largest = *std::max_element(values.begin(), values.end());
  float sum = 0;
  for (float& value : values) {
    value = ExpF(value - largest);
    sum += value;
  }
  for (float& value : values) value /= sum;
}

// What the weights are taken from: the scores without selection bias.
void ScoresOfToken(const RouterSpec& spec, std::span<const float> logits, std::span<float> scores) {
  std::copy(logits.begin(), logits.end(), scores.begin());
  switch (spec.scoring) {
    case Scoring::kSoftmax:
      Softmax(scores);
      break;
    case Scoring::kSigmoid:
      for (float& score : scores) score = SigmoidF(score);
      break;
    case Scoring::kLogits:
    case Scoring::kLogitsSigmoid:
    case Scoring::kSparseMixer:
      break;
  }
}

// DeepSeek's two definitions: the sum of the two best for sigmoid scores (V3), the best for the
// others (V2).
float GroupScore(const RouterSpec& spec, std::span<const float> members) {
  float best = kExcluded, second = kExcluded;
  for (const float value : members) {
    if (value > best) {
      second = std::exchange(best, value);
    } else if (value > second) {
      second = value;
    }
  }
  return spec.scoring == Scoring::kSigmoid && members.size() > 1 ? best + second : best;
}

void ExcludeGroups(const RouterSpec& spec, std::span<float> ranking) {
  const std::int64_t size = spec.experts / spec.num_groups;
  std::vector<std::pair<float, std::int64_t>> groups;
  for (std::int64_t g = 0; g < spec.num_groups; ++g) {
    groups.emplace_back(GroupScore(spec, ranking.subspan(static_cast<std::size_t>(g * size),
                                                         static_cast<std::size_t>(size))),
                        g);
  }
  // Ties between groups go to the lowest group, whatever the profile's rule for experts is.
  std::sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  for (std::size_t rank = static_cast<std::size_t>(spec.top_groups); rank < groups.size(); ++rank) {
    const auto first = ranking.begin() + groups[rank].second * size;
    std::fill(first, first + size, kExcluded);
  }
}

void RankingOfToken(const RouterSpec& spec, std::span<const float> scores,
                    std::span<float> ranking) {
  std::copy(scores.begin(), scores.end(), ranking.begin());
  for (std::size_t e = 0; e < spec.selection_bias.size(); ++e) ranking[e] += spec.selection_bias[e];
  if (spec.top_groups < spec.num_groups) ExcludeGroups(spec, ranking);
}

// The first `count` experts of the ranking, in order.
void BestOfToken(std::span<const float> ranking, std::int64_t count, TieRule ties,
                 std::vector<std::int32_t>& order) {
  order.resize(ranking.size());
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + count, order.end(),
                    [&](std::int32_t a, std::int32_t b) {
                      const float left = ranking[static_cast<std::size_t>(a)];
                      const float right = ranking[static_cast<std::size_t>(b)];
                      if (left != right) return left > right;
                      return ties == TieRule::kLowest ? a < b : a > b;
                    });
}

// SparseMixer (Liu et al. 2024) at inference: the softmax of one expert's logit over the experts,
// `without` left out, whose logit is within 2 jitter of the largest, relative to the larger
// magnitude.
float SparseMixerWeight(const RouterSpec& spec, std::span<const float> logits, std::int32_t expert,
                        std::int32_t without) {
  const auto counts = [&](std::size_t e) { return static_cast<std::int32_t>(e) != without; };
  float largest = kExcluded;
  for (std::size_t e = 0; e < logits.size(); ++e) {
    if (counts(e)) largest = std::max(largest, logits[e]);
  }
  const auto tolerance = static_cast<float>(2 * spec.jitter);
  float sum = 0, own = 0;
  for (std::size_t e = 0; e < logits.size(); ++e) {
    // 0 / 0 is no distance: NaN compares false.
    const float distance = (largest - logits[e]) / std::max(std::abs(logits[e]), largest);
    if (!counts(e) || distance > tolerance) continue;
    const float share = ExpF(logits[e] - largest);
    sum += share;
    if (static_cast<std::int32_t>(e) == expert) own = share;
  }
  return own / sum;
}

// The expert that ranks first takes its weight from all, the other from all but the first: so of
// two equal logits the first gets half and the second all.
void SparseMixerWeights(const RouterSpec& spec, std::span<const float> logits,
                        std::span<const std::int32_t> ids, TieRule ties, std::span<float> weights) {
  const float a = logits[static_cast<std::size_t>(ids[0])];
  const float b = logits[static_cast<std::size_t>(ids[1])];
  const bool by_index = ties == TieRule::kLowest ? ids[0] < ids[1] : ids[0] > ids[1];
  const std::size_t first = (a != b ? a > b : by_index) ? 0 : 1;
  const std::size_t second = 1 - first;
  const auto scaling = static_cast<float>(spec.scaling);
  weights[first] = SparseMixerWeight(spec, logits, ids[first], -1) * scaling;
  weights[second] = SparseMixerWeight(spec, logits, ids[second], ids[first]) * scaling;
}

// Sums run in increasing expert id, not in rank order: so a weight does not depend on how a near
// tie inside the selection falls.
void WeightsOfToken(const RouterSpec& spec, std::span<const float> scores,
                    std::span<const std::int32_t> ids, TieRule ties, std::span<float> weights) {
  if (spec.scoring == Scoring::kSparseMixer) {
    return SparseMixerWeights(spec, scores, ids, ties, weights);
  }
  std::vector<std::size_t> by_id(ids.size());
  std::iota(by_id.begin(), by_id.end(), std::size_t{0});
  std::sort(by_id.begin(), by_id.end(), [&](auto a, auto b) { return ids[a] < ids[b]; });

  std::vector<float> selected(ids.size());
  for (std::size_t n = 0; n < ids.size(); ++n) {
    selected[n] = scores[static_cast<std::size_t>(ids[by_id[n]])];
  }
  if (spec.scoring == Scoring::kLogits) Softmax(selected);
  if (spec.scoring == Scoring::kLogitsSigmoid) {
    for (float& value : selected) value = SigmoidF(value);
  }
  if (spec.renormalize && spec.scoring != Scoring::kLogits) {
    float sum = 0;
    for (const float value : selected) sum += value;
    sum += static_cast<float>(spec.renormalize_epsilon);
    sum = std::max(sum, static_cast<float>(spec.renormalize_floor));
    for (float& value : selected) value /= sum;
  }
  const auto scaling = static_cast<float>(spec.scaling);
  for (std::size_t n = 0; n < ids.size(); ++n) weights[by_id[n]] = selected[n] * scaling;
}

void CheckShape(const RouterSpec& spec, const Matrix& logits) {
  CR_CHECK(logits.cols() == spec.experts, "{} logits for {} experts", logits.cols(), spec.experts);
  CR_CHECK(spec.top_k >= 1 && spec.top_k <= spec.experts, "top {} of {}", spec.top_k, spec.experts);
  CR_CHECK(spec.num_groups >= 1 && spec.experts % spec.num_groups == 0, "{} experts in {} groups",
           spec.experts, spec.num_groups);
  CR_CHECK(spec.scoring != Scoring::kSparseMixer || spec.top_k == 2, "sparse mixer of top {}",
           spec.top_k);
}

}  // namespace

Matrix RankingScores(const RouterSpec& spec, const Matrix& logits) {
  CheckShape(spec, logits);
  Matrix ranking(logits.rows(), logits.cols());
  ForEachToken(logits.rows(), [&](std::int64_t t) {
    std::vector<float> scores(static_cast<std::size_t>(spec.experts));
    ScoresOfToken(spec, logits.row(t), scores);
    RankingOfToken(spec, scores, ranking.row(t));
  });
  return ranking;
}

Routing Route(const RouterSpec& spec, const Matrix& logits, const Arithmetic& arithmetic) {
  CheckShape(spec, logits);
  const auto experts = static_cast<std::size_t>(spec.experts);
  const auto top_k = static_cast<std::size_t>(spec.top_k);
  Routing routing;
  routing.top_k = spec.top_k;
  routing.ids.resize(static_cast<std::size_t>(logits.rows()) * top_k);
  routing.weights.resize(routing.ids.size());
  routing.margin.resize(static_cast<std::size_t>(logits.rows()));
  ForEachToken(logits.rows(), [&](std::int64_t t) {
    std::vector<float> scores(experts), ranking(experts);
    std::vector<std::int32_t> order;
    ScoresOfToken(spec, logits.row(t), scores);
    RankingOfToken(spec, scores, ranking);
    BestOfToken(ranking, std::min(spec.top_k + 1, spec.experts), arithmetic.profile->tie_rule,
                order);
    const auto first = static_cast<std::size_t>(t) * top_k;
    const std::span<std::int32_t> ids(routing.ids.data() + first, top_k);
    std::copy_n(order.begin(), top_k, ids.begin());
    WeightsOfToken(spec, scores, ids, arithmetic.profile->tie_rule,
                   {routing.weights.data() + first, top_k});
    routing.margin[static_cast<std::size_t>(t)] =
        top_k == experts ? std::numeric_limits<float>::infinity()
                         : ranking[static_cast<std::size_t>(order[top_k - 1])] -
                               ranking[static_cast<std::size_t>(order[top_k])];
  });
  Round(arithmetic, RoundingPoint::kRouterWeights, routing.weights);
  return routing;
}

std::vector<float> WeightsOfSelection(const RouterSpec& spec, const Matrix& logits,
                                      std::span<const std::int32_t> ids,
                                      const Arithmetic& arithmetic) {
  CheckShape(spec, logits);
  const auto top_k = static_cast<std::size_t>(spec.top_k);
  CR_CHECK(ids.size() == static_cast<std::size_t>(logits.rows()) * top_k,
           "{} ids for {} tokens and top {}", ids.size(), logits.rows(), top_k);
  std::vector<float> weights(ids.size());
  ForEachToken(logits.rows(), [&](std::int64_t t) {
    std::vector<float> scores(static_cast<std::size_t>(spec.experts));
    ScoresOfToken(spec, logits.row(t), scores);
    const auto first = static_cast<std::size_t>(t) * top_k;
    WeightsOfToken(spec, scores, ids.subspan(first, top_k), arithmetic.profile->tie_rule,
                   {weights.data() + first, top_k});
  });
  Round(arithmetic, RoundingPoint::kRouterWeights, weights);
  return weights;
}

std::vector<std::int32_t> BestExperts(const RouterSpec& spec, const Matrix& logits,
                                      std::int64_t count) {
  const Matrix ranking = RankingScores(spec, logits);
  CR_CHECK(count >= 0 && count <= spec.experts, "best {} of {}", count, spec.experts);
  std::vector<std::int32_t> best(static_cast<std::size_t>(logits.rows() * count));
  ForEachToken(logits.rows(), [&](std::int64_t t) {
    std::vector<std::int32_t> order;
    BestOfToken(ranking.row(t), count, TieRule::kLowest, order);
    std::copy_n(order.begin(), count, best.begin() + t * count);
  });
  return best;
}

Json ToJson(const RouterSpec& spec) {
  Json json;
  json["experts"] = spec.experts;
  json["top_k"] = spec.top_k;
  for (const auto& [scoring, name] : kScoringNames) {
    if (scoring == spec.scoring) json["scoring"] = std::string(name);
  }
  json["renormalize"] = spec.renormalize;
  json["renormalize_epsilon"] = spec.renormalize_epsilon;
  json["renormalize_floor"] = spec.renormalize_floor;
  json["jitter"] = spec.jitter;
  json["scaling"] = spec.scaling;
  json["weights_on_input"] = spec.weights_on_input;
  json["num_groups"] = spec.num_groups;
  json["top_groups"] = spec.top_groups;
  // As doubles: every float is one exactly, so nothing is lost on the way through text.
  json["selection_bias"] =
      std::vector<double>(spec.selection_bias.begin(), spec.selection_bias.end());
  json["logit_bias"] = std::vector<double>(spec.logit_bias.begin(), spec.logit_bias.end());
  return json;
}

namespace {

std::vector<float> BiasFromJson(const Json& json, std::string_view key, std::int64_t experts,
                                std::string_view what) {
  const Json& array = GetMember(json, key, what);
  if (!array.is_array()) Fail("{}: key '{}' is no array", what, key);
  std::vector<float> values;
  for (const Json& value : array) {
    if (!value.is_number()) Fail("{}: key '{}' holds something that is no number", what, key);
    values.push_back(static_cast<float>(value.get<double>()));
  }
  if (!values.empty() && static_cast<std::int64_t>(values.size()) != experts) {
    Fail("{}: key '{}' has {} entries, expected none or {}", what, key, values.size(), experts);
  }
  return values;
}

}  // namespace

RouterSpec RouterSpecFromJson(const Json& json, std::string_view what) {
  RouterSpec spec;
  spec.experts = GetInt(json, "experts", what);
  spec.top_k = GetInt(json, "top_k", what);
  const std::string scoring = GetString(json, "scoring", what);
  const auto* found = std::find_if(std::begin(kScoringNames), std::end(kScoringNames),
                                   [&](const auto& entry) { return entry.second == scoring; });
  if (found == std::end(kScoringNames)) {
    std::vector<std::string_view> names;
    for (const auto& [known, name] : kScoringNames) names.push_back(name);
    Fail("{}: key 'scoring' is '{}', expected one of {}", what, scoring, fmt::join(names, ", "));
  }
  spec.scoring = found->first;
  spec.renormalize = GetBool(json, "renormalize", what, true);
  spec.renormalize_epsilon = GetDouble(json, "renormalize_epsilon", what, 0);
  spec.renormalize_floor = GetDouble(json, "renormalize_floor", what, 0);
  spec.jitter = GetDouble(json, "jitter", what, 0);
  spec.scaling = GetDouble(json, "scaling", what, 1);
  spec.weights_on_input = GetBool(json, "weights_on_input", what, false);
  spec.num_groups = GetInt(json, "num_groups", what, 1);
  spec.top_groups = GetInt(json, "top_groups", what, 1);
  if (spec.top_k < 1 || spec.top_k > spec.experts) {
    Fail("{}: top {} of {} experts is no selection", what, spec.top_k, spec.experts);
  }
  if (spec.scoring == Scoring::kSparseMixer && spec.top_k != 2) {
    Fail("{}: scoring '{}' selects two experts, not {}", what, scoring, spec.top_k);
  }
  if (spec.num_groups < 1 || spec.experts % spec.num_groups != 0 || spec.top_groups < 1 ||
      spec.top_groups > spec.num_groups) {
    Fail("{}: {} experts in {} groups of which {} are kept is no group-limited router", what,
         spec.experts, spec.num_groups, spec.top_groups);
  }
  spec.selection_bias = BiasFromJson(json, "selection_bias", spec.experts, what);
  spec.logit_bias = BiasFromJson(json, "logit_bias", spec.experts, what);
  return spec;
}

}  // namespace cacheready
