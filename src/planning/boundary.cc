// SPDX-License-Identifier: Apache-2.0
#include "planning/boundary.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/math.h"

namespace cacheready {
namespace {

bool RanksByLogits(const RouterSpec& spec) {
  return spec.selection_bias.empty() && spec.top_groups == spec.num_groups;
}

bool AllFinite(const Matrix& values) {
  return std::all_of(values.values().begin(), values.values().end(),
                     [](float value) { return std::isfinite(value); });
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
  boundaries.noise = AllFinite(values) && AllFinite(served)
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
  const auto top_k = static_cast<std::size_t>(spec.top_k);
  const auto experts = static_cast<std::size_t>(spec.experts);
  double sum = 0;
  for (std::int64_t t = 0; t < logits.rows(); ++t) {
    const auto row = std::span(ranked).subspan(static_cast<std::size_t>(t) * experts, experts);
    const auto class_at = [&](std::size_t rank) {
      return class_of[static_cast<std::size_t>(row[rank])];
    };
    const auto stays = [&](std::size_t above, std::size_t below) {
      const double gap = static_cast<double>(values.at(t, row[above])) -
                         static_cast<double>(values.at(t, row[below]));
      if (!std::isfinite(gap)) return 1.0;
      return 1 - CrossingProbability(gap, of_classes.Between(row[above], row[below]));
    };
    const std::int32_t cut = class_at(top_k - 1);
    std::size_t below = top_k;  // the first unselected expert of another class
    while (below < experts && class_at(below) == cut) ++below;
    double stay = below < experts ? stays(top_k - 1, below) : 1;
    if (below > top_k) {  // the class lies on both sides: it can also fall behind a selected one
      std::size_t above = top_k - 1;
      while (above > 0 && class_at(above) == cut) --above;
      if (class_at(above) != cut) stay *= stays(above, top_k - 1);
    }
    sum += 1 - stay;
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
