// A token's output is y = sum_e g_e f_e + shared. With new weights g' the change is
// y' - y = sum_e (g'_e - g_e) f_e over the experts of either set, and its squared norm is c^T G c
// with the Gram matrix that the scan stored for the experts ranked 1 ... 2k; the shared part has
// coefficient 0. So the change is exact, at (2k)^2 multiplications a token instead of an expert
// run. An expert that comes in from beyond rank 2k has no inner products there. It is nearly always
// a member of a tied group of which another member ranks high: that one's output stands in for it,
// and the upper limit of their distance, by which they were found equivalent, is charged on top.
// Without such a member its weight times the largest norm that it ever showed is added (triangle
// inequality). Both kinds of tokens are counted.
//
// Only tokens near the edited rows can change. For routers whose weights depend on the selected
// logits alone, a token stays as it is if it selected no member and the new row does not rank among
// the selected; the margin below covers the rounding of the scores. Other routers (unnormalized
// softmax, group limits, SparseMixer) replay every token. What is replayed goes through the model's
// own Route(). SPDX-License-Identifier: Apache-2.0
#include "planning/replay.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/math.h"
#include "base/parallel.h"

namespace cacheready {
namespace {

constexpr double kRankMargin = 1e-4;  // relative to 1 + |level|; scores are fp32

bool OnlySelectedMatter(const RouterSpec& spec) {
  if (spec.top_groups < spec.num_groups) return false;
  switch (spec.scoring) {
    case Scoring::kSoftmax:
      return spec.renormalize && spec.renormalize_epsilon == 0 && spec.renormalize_floor == 0 &&
             spec.selection_bias.empty();
    case Scoring::kSigmoid:
      return true;
    case Scoring::kLogits:
    case Scoring::kLogitsSigmoid:
      return spec.selection_bias.empty();
    case Scoring::kSparseMixer:
      return false;  // an expert near the largest counts, selected or not
  }
  return false;
}

// What two experts are compared by, up to a monotone function.
double RankValue(const RouterSpec& spec, float logit, float selection_bias) {
  if (spec.selection_bias.empty()) return static_cast<double>(logit);
  return Sigmoid(static_cast<double>(logit)) + static_cast<double>(selection_bias);
}

std::size_t At(std::int64_t index) { return static_cast<std::size_t>(index); }

// c^T G c with the upper triangle of G [n, n] packed row by row; `c` may be shorter than n.
double QuadraticForm(std::span<const double> packed, std::size_t n, std::span<const double> c) {
  double sum = 0;
  std::size_t row = 0;
  for (std::size_t a = 0; a < c.size(); ++a) {
    if (c[a] != 0) {
      double cross = 0;
      for (std::size_t b = a + 1; b < c.size(); ++b) cross += c[b] * packed[row + b - a];
      sum += c[a] * (c[a] * packed[row] + 2 * cross);
    }
    row += n - a;
  }
  return std::max(sum, 0.0);
}

struct TokenEffects {
  bool counts_changed = false;
  double mass_moved = 0;
};

// Class by class, over the few experts of both selections.
TokenEffects CompareSelections(std::span<const std::int32_t> ids, std::span<const float> weights,
                               std::span<const std::int32_t> new_ids,
                               std::span<const float> new_weights,
                               std::span<const std::int32_t> class_of) {
  struct Share {
    std::int32_t of_class;
    int count;
    double mass;
  };
  std::vector<Share> shares;
  for (std::size_t n = 0; n < ids.size(); ++n) {
    shares.push_back({class_of[At(ids[n])], -1, -static_cast<double>(weights[n])});
    shares.push_back({class_of[At(new_ids[n])], 1, static_cast<double>(new_weights[n])});
  }
  std::stable_sort(shares.begin(), shares.end(),
                   [](const Share& a, const Share& b) { return a.of_class < b.of_class; });
  TokenEffects effects;
  for (std::size_t n = 0; n < shares.size();) {
    Share sum{shares[n].of_class, 0, 0};
    for (; n < shares.size() && shares[n].of_class == sum.of_class; ++n) {
      sum.count += shares[n].count;
      sum.mass += shares[n].mass;
    }
    effects.counts_changed = effects.counts_changed || sum.count != 0;
    effects.mass_moved += 0.5 * std::abs(sum.mass);
  }
  return effects;
}

}  // namespace

StandIns::StandIns(std::int64_t experts)
    : experts_(experts),
      distances_(static_cast<std::size_t>(experts * experts),
                 std::numeric_limits<double>::infinity()) {}

void StandIns::Set(std::int64_t i, std::int64_t j, double distance) {
  distances_[static_cast<std::size_t>(i * experts_ + j)] = distance;
  distances_[static_cast<std::size_t>(j * experts_ + i)] = distance;
}

Replay::Replay(const LayerRecord& record, RouterSpec spec, const StandIns* stand_ins)
    : record_(record),
      stand_ins_(stand_ins),
      spec_(std::move(spec)),
      only_selected_matter_(OnlySelectedMatter(spec_)),
      logits_(record.logits),
      stored_(Route(spec_, logits_, Fp32Arithmetic())),
      current_(stored_),
      squared_change_(At(stored_.tokens()), 0.0),
      known_(At(stored_.tokens()), Knowledge::kExact),
      level_(At(stored_.tokens()), 0.0) {
  CR_CHECK(record.ranked_per_token > 0, "layer {} has no candidates to replay", record.layer);
  if (spec_.weights_on_input) {
    Fail(
        "layer record {}: the router's weights multiply the experts' inputs (weights_on_input), so "
        "what other weights would do does not follow from the stored outputs",
        record.layer);
  }
  MeasureNorms();
  for (std::int64_t t = 0; t < tokens(); ++t) {
    level_[At(t)] = EntryLevel(t);
    Knowledge known = Knowledge::kExact;
    SquaredChange(t, stored_.ids_of(t), stored_.weights_of(t), known);
    if (known != Knowledge::kExact) {
      Fail("layer record {}: tensor 'ranked' misses an expert that token {} selects; scan again",
           record.layer, t);
    }
  }
}

void Replay::MeasureNorms() {
  largest_norm_.assign(At(spec_.experts), 0.0);
  const std::size_t r = At(record_.ranked_per_token);
  const std::size_t packed = (r + 1) * (r + 2) / 2;
  double largest = 0;
  for (std::size_t t = 0; t < At(tokens()); ++t) {
    std::size_t diagonal = t * packed;
    for (std::size_t a = 0; a < r; ++a) {
      double& norm = largest_norm_[At(record_.ranked[t * r + a])];
      norm = std::max(norm, std::sqrt(std::max(record_.gram[diagonal], 0.0)));
      largest = std::max(largest, norm);
      diagonal += r + 1 - a;
    }
  }
  // An expert that never ranked among the first 2k is bounded by the largest of all.
  for (double& norm : largest_norm_) {
    if (norm == 0) norm = largest;
  }
}

double Replay::EntryLevel(std::int64_t token) const {
  double level = std::numeric_limits<double>::infinity();
  for (const std::int32_t e : current_.ids_of(token)) {
    const float bias = spec_.selection_bias.empty() ? 0.0f : spec_.selection_bias[At(e)];
    level = std::min(level, RankValue(spec_, logits_.at(token, e), bias));
  }
  return level;
}

bool Replay::MayChange(const RowEdit& edit, std::int64_t token) const {
  if (!only_selected_matter_) return true;
  const double level = level_[At(token)];
  const double entry = RankValue(spec_, edit.logits[At(token)], edit.selection_bias);
  if (entry >= level - kRankMargin * (1 + std::abs(level))) return true;
  const auto ids = current_.ids_of(token);
  return std::any_of(ids.begin(), ids.end(), [&](std::int32_t e) {
    return std::binary_search(edit.members.begin(), edit.members.end(), e);
  });
}

// What an expert beyond the stored ranks adds to the norm; a stand-in's coefficient is put into
// `change`.
double Replay::ChargeBeyond(std::int64_t token, std::int32_t expert, double weight,
                            std::span<double> change, Knowledge& known) const {
  const std::size_t r = At(record_.ranked_per_token);
  const std::span<const std::int32_t> ranked(record_.ranked.data() + At(token) * r, r);
  std::size_t nearest = r;
  double distance = 1;  // a farther one says no more than the bound
  for (std::size_t a = 0; stand_ins_ != nullptr && a < r; ++a) {
    const double d = stand_ins_->At(expert, ranked[a]);
    if (d >= distance) continue;
    distance = d;
    nearest = a;
  }
  if (nearest == r) {
    known = Knowledge::kBound;
    return std::abs(weight) * largest_norm_[At(expert)];
  }
  known = std::max(known, Knowledge::kStandIn);
  change[nearest] += weight;
  // |f - f'| <= d max(|f|, |f'|) <= d / (1 - d) |f'|.
  const std::size_t packed = (r + 1) * (r + 2) / 2;
  const std::size_t diagonal = At(token) * packed + nearest * (r + 1) - nearest * (nearest - 1) / 2;
  const double norm = std::sqrt(std::max(record_.gram[diagonal], 0.0));
  return std::abs(weight) * distance / (1 - distance) * norm;
}

double Replay::SquaredChange(std::int64_t token, std::span<const std::int32_t> ids,
                             std::span<const float> weights, Knowledge& known) const {
  const std::size_t r = At(record_.ranked_per_token);
  const std::span<const std::int32_t> ranked(record_.ranked.data() + At(token) * r, r);
  std::vector<double> change(r, 0.0);
  double beyond = 0;
  const auto add = [&](std::int32_t expert, double weight) {
    const auto place = std::find(ranked.begin(), ranked.end(), expert);
    if (place != ranked.end()) {
      change[At(place - ranked.begin())] += weight;
    } else {
      beyond += ChargeBeyond(token, expert, weight, change, known);
    }
  };
  const auto stored_ids = stored_.ids_of(token);
  const auto stored_weights = stored_.weights_of(token);
  for (std::size_t n = 0; n < ids.size(); ++n) {
    add(stored_ids[n], -static_cast<double>(stored_weights[n]));
    add(ids[n], static_cast<double>(weights[n]));
  }
  const std::size_t packed = (r + 1) * (r + 2) / 2;
  const std::span<const double> gram(record_.gram.data() + At(token) * packed, packed);
  const double norm = std::sqrt(QuadraticForm(gram, r + 1, change)) + beyond;
  const auto y = static_cast<double>(record_.y_norm[At(token)]);
  if (norm == 0) return 0;
  return y == 0 ? 1.0 : norm * norm / (y * y);
}

ReplayedTokens Replay::Evaluate(const RowEdit& edit) const {
  CR_CHECK(std::is_sorted(edit.members.begin(), edit.members.end()), "members are not ascending");
  ReplayedTokens replayed;
  for (std::int64_t t = 0; t < tokens(); ++t) {
    if (MayChange(edit, t)) replayed.tokens.push_back(static_cast<std::int32_t>(t));
  }
  RouterSpec edited = spec_;
  if (!edited.selection_bias.empty()) {
    for (const std::int32_t e : edit.members) edited.selection_bias[At(e)] = edit.selection_bias;
  }
  Matrix logits = GatherRows(logits_, replayed.tokens);
  for (std::size_t n = 0; n < replayed.tokens.size(); ++n) {
    for (const std::int32_t e : edit.members) {
      logits.at(static_cast<std::int64_t>(n), e) = edit.logits[At(replayed.tokens[n])];
    }
  }
  replayed.routing = Route(edited, logits, Fp32Arithmetic());
  replayed.squared_change.resize(replayed.tokens.size());
  replayed.known.resize(replayed.tokens.size());
  double rise = 0;
  for (std::size_t n = 0; n < replayed.tokens.size(); ++n) {
    const auto row = static_cast<std::int64_t>(n);
    replayed.known[n] = Knowledge::kExact;
    replayed.squared_change[n] = SquaredChange(replayed.tokens[n], replayed.routing.ids_of(row),
                                               replayed.routing.weights_of(row), replayed.known[n]);
    rise += replayed.squared_change[n] - squared_change_[At(replayed.tokens[n])];
  }
  replayed.mean_square_rise = rise / static_cast<double>(tokens());
  return replayed;
}

void Replay::Commit(const RowEdit& edit, const ReplayedTokens& replayed) {
  for (const std::int32_t e : edit.members) {
    if (!spec_.selection_bias.empty()) spec_.selection_bias[At(e)] = edit.selection_bias;
    for (std::int64_t t = 0; t < tokens(); ++t) logits_.at(t, e) = edit.logits[At(t)];
  }
  const std::size_t k = At(spec_.top_k);
  for (std::size_t n = 0; n < replayed.tokens.size(); ++n) {
    const std::int64_t t = replayed.tokens[n];
    const auto row = static_cast<std::int64_t>(n);
    std::copy_n(replayed.routing.ids_of(row).begin(), k, current_.ids.begin() + t * spec_.top_k);
    std::copy_n(replayed.routing.weights_of(row).begin(), k,
                current_.weights.begin() + t * spec_.top_k);
    current_.margin[At(t)] = replayed.routing.margin[n];
    squared_change_[At(t)] = replayed.squared_change[n];
    known_[At(t)] = replayed.known[n];
    level_[At(t)] = EntryLevel(t);
  }
  mean_square_ = std::accumulate(squared_change_.begin(), squared_change_.end(), 0.0) /
                 static_cast<double>(tokens());
}

RoutingEffects Replay::EffectsOf(const ReplayedTokens& replayed,
                                 std::span<const std::int32_t> class_of) const {
  RoutingEffects effects;
  double squares = 0;
  for (std::size_t n = 0; n < replayed.tokens.size(); ++n) {
    const std::int64_t t = replayed.tokens[n];
    const auto row = static_cast<std::int64_t>(n);
    const TokenEffects token =
        CompareSelections(stored_.ids_of(t), stored_.weights_of(t), replayed.routing.ids_of(row),
                          replayed.routing.weights_of(row), class_of);
    effects.class_counts_changed += token.counts_changed ? 1 : 0;
    effects.gate_mass_moved += token.mass_moved;
    squares += replayed.squared_change[n];
    effects.stand_in_tokens += replayed.known[n] == Knowledge::kStandIn ? 1 : 0;
    effects.bounded_tokens += replayed.known[n] == Knowledge::kBound ? 1 : 0;
  }
  const auto count = static_cast<double>(tokens());
  effects.class_counts_changed /= count;
  effects.gate_mass_moved /= count;
  effects.rms_change = std::sqrt(squares / count);
  return effects;
}

RoutingEffects Replay::EffectsOfCommitted(std::span<const std::int32_t> class_of) const {
  ReplayedTokens all;
  all.tokens.resize(At(tokens()));
  std::iota(all.tokens.begin(), all.tokens.end(), 0);
  all.routing = current_;
  all.squared_change = squared_change_;
  all.known = known_;
  return EffectsOf(all, class_of);
}

}  // namespace cacheready
