// SPDX-License-Identifier: Apache-2.0
#include "planning/boundary.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/math.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

bool RanksByLogits(const RouterSpec& spec) {
  return spec.selection_bias.empty() && spec.top_groups == spec.num_groups;
}

std::vector<std::int32_t> SortedClasses(std::span<const std::int32_t> ids,
                                        std::span<const std::int32_t> class_of) {
  std::vector<std::int32_t> classes;
  for (const std::int32_t e : ids) classes.push_back(class_of[static_cast<std::size_t>(e)]);
  std::sort(classes.begin(), classes.end());
  return classes;
}

std::vector<std::int32_t> Sorted(std::span<const std::int32_t> ids) {
  std::vector<std::int32_t> sorted(ids.begin(), ids.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

// One expert of each of the classes nearest to the k boundary on one side of it (`step` -1: the
// selected ones), nearest first. Farther ones hardly ever cross it.
std::vector<std::int32_t> NearestClasses(std::span<const std::int32_t> ranked,
                                         std::span<const std::int32_t> class_of, std::int64_t top_k,
                                         std::int64_t step) {
  constexpr std::size_t kClasses = 4;
  std::vector<std::int32_t> nearest;
  const auto known = [&](std::int32_t expert) {
    return std::any_of(nearest.begin(), nearest.end(), [&](std::int32_t e) {
      return class_of[static_cast<std::size_t>(e)] == class_of[static_cast<std::size_t>(expert)];
    });
  };
  for (std::int64_t rank = step < 0 ? top_k - 1 : top_k;
       rank >= 0 && rank < static_cast<std::int64_t>(ranked.size()) && nearest.size() < kClasses;
       rank += step) {
    const std::int32_t expert = ranked[static_cast<std::size_t>(rank)];
    if (!known(expert)) nearest.push_back(expert);
  }
  return nearest;
}

// Phi(-gap / sigma). Without noise only an exact tie can fall either way.
double CrossingProbability(double gap, double sigma) {
  if (sigma == 0) return gap == 0 ? 0.5 : 0.0;
  return NormalCdf(-gap / sigma);
}

}  // namespace

Boundaries FindBoundaries(const RouterSpec& spec, const Matrix& logits,
                          const Matrix& profile_logits) {
  Boundaries boundaries;
  const auto tokens = static_cast<std::size_t>(logits.rows());
  boundaries.inside.assign(tokens, -1);
  boundaries.outside.assign(tokens, -1);
  boundaries.flip_probability.assign(tokens, 0.0);
  if (spec.top_k == spec.experts) return boundaries;

  const std::vector<std::int32_t> best = BestExperts(spec, logits, spec.top_k + 1);
  const bool plain = RanksByLogits(spec);
  const Matrix values = plain ? logits : RankingScores(spec, logits);
  const Matrix served = plain ? profile_logits : RankingScores(spec, profile_logits);
  std::vector<double> gaps(tokens, 0.0);
  double squares = 0;
  double measured = 0;
  for (std::size_t t = 0; t < tokens; ++t) {
    const auto row = static_cast<std::int64_t>(t);
    const std::int32_t* last = best.data() + t * static_cast<std::size_t>(spec.top_k + 1) +
                               static_cast<std::size_t>(spec.top_k - 1);
    const auto difference = [&](const Matrix& of) {
      return static_cast<double>(of.at(row, last[0])) - static_cast<double>(of.at(row, last[1]));
    };
    const double gap = difference(values);
    const double deviation = difference(served) - gap;
    if (!std::isfinite(gap)) continue;  // the next expert lies in an excluded routing group
    boundaries.inside[t] = last[0];
    boundaries.outside[t] = last[1];
    gaps[t] = gap;
    if (!std::isfinite(deviation)) continue;
    squares += deviation * deviation;
    measured += 1;
  }
  if (measured > 0) boundaries.sigma = std::sqrt(squares / measured);
  // Excluded routing groups rank at minus infinity: then one deviation has to do for all pairs.
  boundaries.noise = AllFinite(values.values()) && AllFinite(served.values())
                         ? LogitNoise(values, served)
                         : LogitNoise::Uniform(spec.experts, boundaries.sigma);
  for (std::size_t t = 0; t < tokens; ++t) {
    if (boundaries.inside[t] < 0) continue;
    boundaries.flip_probability[t] = CrossingProbability(
        gaps[t], boundaries.noise.Between(boundaries.inside[t], boundaries.outside[t]));
  }
  return boundaries;
}

double ExpectedFlips(const Boundaries& boundaries, std::span<const std::int32_t> members) {
  const auto is_member = [&](std::int32_t e) {
    return std::binary_search(members.begin(), members.end(), e);
  };
  double sum = 0;
  for (std::size_t t = 0; t < boundaries.inside.size(); ++t) {
    if (is_member(boundaries.inside[t]) && is_member(boundaries.outside[t])) {
      sum += boundaries.flip_probability[t];
    }
  }
  return sum;
}

double ExpectedFlips(const RouterSpec& spec, const Matrix& logits,
                     std::span<const std::int32_t> class_of, const LogitNoise& noise) {
  if (spec.top_k == spec.experts) return 0;
  const std::vector<std::int32_t> ranked = BestExperts(spec, logits, spec.experts);
  const Matrix values = RanksByLogits(spec) ? logits : RankingScores(spec, logits);
  const LogitNoise of_classes = noise.OfClasses(class_of);
  const auto experts = static_cast<std::size_t>(spec.experts);
  double sum = 0;
  for (std::int64_t t = 0; t < logits.rows(); ++t) {
    const auto row = std::span(ranked).subspan(static_cast<std::size_t>(t) * experts, experts);
    double stays = 1;
    for (const std::int32_t a : NearestClasses(row, class_of, spec.top_k, -1)) {
      for (const std::int32_t b : NearestClasses(row, class_of, spec.top_k, 1)) {
        const double gap =
            static_cast<double>(values.at(t, a)) - static_cast<double>(values.at(t, b));
        if (class_of[static_cast<std::size_t>(a)] == class_of[static_cast<std::size_t>(b)] ||
            !std::isfinite(gap)) {
          continue;
        }
        stays *= 1 - CrossingProbability(gap, of_classes.Between(a, b));
      }
    }
    sum += 1 - stays;
  }
  return sum;
}

FlipCounts CountFlips(const Routing& a, const Routing& b, std::span<const std::int32_t> class_of) {
  CR_CHECK(a.tokens() == b.tokens(), "{} and {} tokens", a.tokens(), b.tokens());
  FlipCounts counts;
  counts.tokens = a.tokens();
  for (std::int64_t t = 0; t < a.tokens(); ++t) {
    if (Sorted(a.ids_of(t)) == Sorted(b.ids_of(t))) continue;
    ++counts.flips;
    const bool same_counts =
        SortedClasses(a.ids_of(t), class_of) == SortedClasses(b.ids_of(t), class_of);
    counts.within += same_counts ? 1 : 0;
  }
  return counts;
}

}  // namespace cacheready
