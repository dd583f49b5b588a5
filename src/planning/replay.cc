// A token's output is y = sum_e g_e f_e + shared. With new weights g' the change is
// y' - y = sum_e (g'_e - g_e) f_e over the experts of either set: output_change.cc.
//
// Only tokens near the edited rows can change. For routers whose weights depend on the selected
// logits alone, a token stays as it is if it selected no member and the new row does not rank among
// the selected; the margin below covers the rounding of the scores. Other routers (unnormalized
// softmax, group limits, SparseMixer) replay every token. What is replayed goes through the model's
// own Route(). SPDX-License-Identifier: Apache-2.0
#include "planning/replay.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/math.h"
#include "base/parallel.h"
#include "planning/numbers.h"

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

Replay::Replay(const LayerRecord& record, RouterSpec spec, const OutputDistances* distances)
    : record_(record),
      spec_(std::move(spec)),
      change_(record, spec_.experts, distances),
      only_selected_matter_(OnlySelectedMatter(spec_)),
      logits_(record.logits),
      stored_(Route(spec_, logits_, Fp32Arithmetic())),
      current_(stored_),
      squared_change_(At(stored_.tokens()), 0.0),
      known_(At(stored_.tokens()), Knowledge::kExact),
      level_(At(stored_.tokens()), 0.0) {
  if (spec_.weights_on_input) {
    Fail(
        "layer record {}: the router's weights multiply the experts' inputs (weights_on_input), so "
        "what other weights would do does not follow from the stored outputs",
        record.layer);
  }
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

double Replay::EntryLevel(std::int64_t token) const {
  double level = kInfinity;
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

double Replay::SquaredChange(std::int64_t token, std::span<const std::int32_t> ids,
                             std::span<const float> weights, Knowledge& known) const {
  std::vector<WeightChange> changes;
  const auto add = [&](std::int32_t expert, double weight) {
    for (WeightChange& change : changes) {
      if (change.expert != expert) continue;
      change.change += weight;
      return;
    }
    changes.push_back({expert, weight});
  };
  const auto stored_ids = stored_.ids_of(token);
  const auto stored_weights = stored_.weights_of(token);
  for (std::size_t n = 0; n < ids.size(); ++n) {
    add(stored_ids[n], -static_cast<double>(stored_weights[n]));
    add(ids[n], static_cast<double>(weights[n]));
  }
  const OutputChange::Norm norm = change_.Of(token, changes);
  known = norm.known;
  const auto y = static_cast<double>(record_.y_norm[At(token)]);
  if (norm.value == 0) return 0;
  return y == 0 ? 1.0 : norm.value * norm.value / (y * y);
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
