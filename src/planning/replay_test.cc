// Replayed changes against outputs recomputed from the experts themselves.
// SPDX-License-Identifier: Apache-2.0
#include "planning/replay.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "planning/budget.h"
#include "planning/canonical_rows.h"
#include "planning/synthetic_layer.h"

namespace cacheready {
namespace {

const std::vector<std::int32_t> kMembers{2, 9};

RowCandidate MeanRow(const SyntheticLayer& layer, const std::vector<std::int32_t>& members) {
  const std::vector<double> usage(members.size(), 1.0);
  return CandidateRows(layer.record().router, members, usage)[0];
}

struct Tied {
  std::vector<std::int32_t> members;
  RowCandidate row;
  std::vector<float> logits;
  RowEdit edit;  // views the members above
  Tied(const SyntheticLayer& layer, std::vector<std::int32_t> tied)
      : members(std::move(tied)), row(MeanRow(layer, members)) {
    const Matrix column = CandidateLogits(layer.record().x, std::span(&row, 1));
    logits.assign(column.values().begin(), column.values().end());
    edit = {members, logits, row.selection_bias_value};
  }
};

// Everything again, without replay: new weights, new logits, new routing, new outputs.
struct Recomputed {
  Routing routing;
  std::vector<double> relative_change;  // exact, [tokens]
};
Recomputed Recompute(const SyntheticLayer& layer,
                     const std::vector<std::pair<std::vector<std::int32_t>, RowCandidate>>& ties) {
  Matrix weight = layer.RouterWeight();
  RouterSpec spec = layer.spec();
  for (const auto& [members, row] : ties) {
    for (const std::int32_t e : members) {
      std::copy(row.weight_values.begin(), row.weight_values.end(), weight.row(e).begin());
      const auto at = static_cast<std::size_t>(e);
      if (!spec.logit_bias.empty()) spec.logit_bias[at] = row.logit_bias_value;
      if (!spec.selection_bias.empty()) spec.selection_bias[at] = row.selection_bias_value;
    }
  }
  const Matrix logits =
      Linear(Fp32Arithmetic(), Role::kRouter, *MakeDenseMatrix(weight), layer.x(), spec.logit_bias);
  Recomputed result{Route(spec, logits, Fp32Arithmetic()), {}};
  const Routing before = Route(layer.spec(), layer.record().logits, Fp32Arithmetic());
  for (std::int64_t t = 0; t < layer.tokens(); ++t) {
    const auto y = layer.LayerOutput(before.ids_of(t), before.weights_of(t), t);
    const auto changed =
        layer.LayerOutput(result.routing.ids_of(t), result.routing.weights_of(t), t);
    result.relative_change.push_back(SyntheticLayer::Distance(y, changed) /
                                     SyntheticLayer::Norm(y));
  }
  return result;
}

void ExpectReplayIsExact(SyntheticOptions options) {
  options.copies = {{2, 9, 0.01, 0.2}, {3, 12, 0.01, 0.2}};
  const SyntheticLayer layer(options);
  Replay replay(layer.record(), layer.spec());
  const Tied first(layer, {2, 9}), second(layer, {3, 12});
  replay.Commit(first.edit, replay.Evaluate(first.edit));
  replay.Commit(second.edit, replay.Evaluate(second.edit));
  const Recomputed truth = Recompute(layer, {{{2, 9}, first.row}, {{3, 12}, second.row}});

  ASSERT_EQ(replay.routing().ids.size(), truth.routing.ids.size());
  EXPECT_EQ(replay.routing().ids, truth.routing.ids);
  double worst_weight = 0;
  for (std::size_t n = 0; n < truth.routing.weights.size(); ++n) {
    worst_weight = std::max(worst_weight, static_cast<double>(std::abs(replay.routing().weights[n] -
                                                                       truth.routing.weights[n])));
  }
  EXPECT_LT(worst_weight, 1e-6);
  double squares = 0;
  for (const double change : truth.relative_change) squares += change * change;
  const double mean_square = squares / static_cast<double>(layer.tokens());
  EXPECT_GT(mean_square, 0);
  const std::vector<std::int32_t> classes = ClassesOf(options.spec.experts, {{2, 9}, {3, 12}});
  if (replay.EffectsOfCommitted(classes).bounded_tokens == 0) {
    EXPECT_NEAR(replay.mean_square_change(), mean_square, 1e-5 * mean_square);
  } else {
    EXPECT_GE(replay.mean_square_change(), mean_square * (1 - 1e-5));
  }
}

TEST(Replay, IsExactForRenormalizedSoftmax) { ExpectReplayIsExact({}); }

TEST(Replay, IsExactForSoftmaxOverTheSelected) {
  SyntheticOptions options;
  options.spec.scoring = Scoring::kLogits;
  options.spec.logit_bias.assign(16, 0.25f);
  options.spec.logit_bias[9] = -0.25f;
  ExpectReplayIsExact(options);
}

TEST(Replay, IsExactForSoftmaxWithoutRenormalization) {
  SyntheticOptions options;
  options.spec.renormalize = false;
  ExpectReplayIsExact(options);
}

TEST(Replay, IsExactForSigmoidWithCorrectionBias) {
  SyntheticOptions options;
  options.spec.scoring = Scoring::kSigmoid;
  options.spec.scaling = 2.5;
  for (int e = 0; e < 16; ++e) {
    options.spec.selection_bias.push_back(0.02f * static_cast<float>(e % 5));
  }
  ExpectReplayIsExact(options);
}

TEST(Replay, IsExactForGroupLimitedRouting) {
  SyntheticOptions options;
  options.spec.scoring = Scoring::kSigmoid;
  options.spec.num_groups = 4;
  options.spec.top_groups = 2;
  ExpectReplayIsExact(options);
}

TEST(Replay, IsExactForSoftmaxWithCorrectionBiasAndAFloorOfTheSum) {
  SyntheticOptions options;
  options.spec.renormalize_floor = 0.5;
  for (int e = 0; e < 16; ++e) {
    options.spec.selection_bias.push_back(0.01f * static_cast<float>(e % 5));
  }
  ExpectReplayIsExact(options);
}

// An expert that is not selected, but near the largest logit, takes weight from the selected.
TEST(Replay, IsExactForSparseMixer) {
  SyntheticOptions options;
  options.spec.top_k = 2;
  options.spec.scoring = Scoring::kSparseMixer;
  options.spec.jitter = 0.3;
  ExpectReplayIsExact(options);
}

TEST(Replay, ChargesTheTriangleBoundBeyondTheStoredRanks) {
  // Unrelated rows: tying pulls experts in from any rank.
  const SyntheticLayer layer({});
  Replay replay(layer.record(), layer.spec());
  const Tied tied(layer, kMembers);
  const ReplayedTokens replayed = replay.Evaluate(tied.edit);
  const Recomputed truth = Recompute(layer, {{kMembers, tied.row}});
  int beyond = 0;
  for (std::size_t n = 0; n < replayed.tokens.size(); ++n) {
    const double exact = truth.relative_change[static_cast<std::size_t>(replayed.tokens[n])];
    const double charged = std::sqrt(replayed.squared_change[n]);
    if (replayed.known[n] == Knowledge::kBound) {
      ++beyond;
      EXPECT_GE(charged, exact * (1 - 1e-6)) << "token " << replayed.tokens[n];
    } else {
      EXPECT_NEAR(charged, exact, 1e-5) << "token " << replayed.tokens[n];
    }
  }
  EXPECT_GT(beyond, 0);
}

// The same, but the members compute the same within 1 %: whichever of them ranks high speaks for
// the other.
TEST(Replay, AnEquivalentMemberStandsInForOneBeyondTheStoredRanks) {
  SyntheticOptions options;
  options.copies = {{2, 9, 0.01, 1.0}};
  const SyntheticLayer layer(options);
  OutputDistances stand_ins(16);
  stand_ins.Set(2, 9, {0, 0.05});  // far above what any token shows
  const Replay without(layer.record(), layer.spec());
  const Replay with(layer.record(), layer.spec(), &stand_ins);
  const Tied tied(layer, kMembers);
  const ReplayedTokens loose = without.Evaluate(tied.edit), tight = with.Evaluate(tied.edit);
  const Recomputed truth = Recompute(layer, {{kMembers, tied.row}});
  int stood_in = 0;
  for (std::size_t n = 0; n < tight.tokens.size(); ++n) {
    const double exact = truth.relative_change[static_cast<std::size_t>(tight.tokens[n])];
    const double charged = std::sqrt(tight.squared_change[n]);
    EXPECT_GE(charged, exact * (1 - 1e-5)) << "token " << tight.tokens[n];
    if (tight.known[n] != Knowledge::kStandIn) continue;
    ++stood_in;
    EXPECT_EQ(loose.known[n], Knowledge::kBound);
    EXPECT_LT(charged, std::sqrt(loose.squared_change[n])) << "token " << tight.tokens[n];
  }
  EXPECT_GT(stood_in, 0);
}

TEST(Replay, LooksOnlyAtTokensThatMayChange) {
  SyntheticOptions options;
  options.copies = {{2, 9, 0.01, 0.05}};
  const SyntheticLayer layer(options);
  const Replay replay(layer.record(), layer.spec());
  const Tied tied(layer, kMembers);
  const ReplayedTokens replayed = replay.Evaluate(tied.edit);
  EXPECT_LT(replayed.tokens.size(), static_cast<std::size_t>(layer.tokens()) / 2);
  const Recomputed truth = Recompute(layer, {{kMembers, tied.row}});
  std::vector<bool> looked(static_cast<std::size_t>(layer.tokens()), false);
  for (const std::int32_t t : replayed.tokens) looked[static_cast<std::size_t>(t)] = true;
  for (std::size_t t = 0; t < looked.size(); ++t) {
    if (looked[t]) continue;
    EXPECT_LT(truth.relative_change[t], 1e-6) << "token " << t;
  }
}

TEST(Replay, EffectsAreThoseOfTheRecomputedRouting) {
  SyntheticOptions options;
  options.copies = {{2, 9, 0.01, 0.2}};
  const SyntheticLayer layer(options);
  const Replay replay(layer.record(), layer.spec());
  const Tied tied(layer, kMembers);
  const std::vector<std::int32_t> classes = ClassesOf(16, {kMembers});
  const RoutingEffects effects = replay.EffectsOf(replay.Evaluate(tied.edit), classes);
  const Recomputed truth = Recompute(layer, {{kMembers, tied.row}});
  const Routing before = Route(layer.spec(), layer.record().logits, Fp32Arithmetic());
  double changed = 0, moved = 0;
  for (std::int64_t t = 0; t < layer.tokens(); ++t) {
    std::vector<double> mass(16, 0.0);
    std::vector<int> count(16, 0);
    for (std::size_t n = 0; n < 4; ++n) {
      const auto old_class =
          static_cast<std::size_t>(classes[static_cast<std::size_t>(before.ids_of(t)[n])]);
      const auto new_class =
          static_cast<std::size_t>(classes[static_cast<std::size_t>(truth.routing.ids_of(t)[n])]);
      mass[old_class] -= static_cast<double>(before.weights_of(t)[n]);
      mass[new_class] += static_cast<double>(truth.routing.weights_of(t)[n]);
      --count[old_class];
      ++count[new_class];
    }
    changed += std::any_of(count.begin(), count.end(), [](int c) { return c != 0; }) ? 1 : 0;
    for (const double m : mass) moved += 0.5 * std::abs(m);
  }
  EXPECT_NEAR(effects.class_counts_changed, changed / static_cast<double>(layer.tokens()), 1e-12);
  EXPECT_NEAR(effects.gate_mass_moved, moved / static_cast<double>(layer.tokens()), 1e-6);
  EXPECT_GT(changed, 0);
}

TEST(Replay, RowsThatAreAlreadyEqualChangeNothing) {
  SyntheticOptions options;
  options.copies = {{2, 9, 0.0, 0.0}};
  const SyntheticLayer layer(options);
  const Replay replay(layer.record(), layer.spec());
  const ReplayedTokens replayed = replay.Evaluate(Tied(layer, kMembers).edit);
  EXPECT_EQ(replayed.mean_square_rise, 0);
}

TEST(Replay, RefusesWeightsThatScaleTheExpertsInputs) {
  const SyntheticLayer layer{SyntheticOptions{}};
  RouterSpec spec = layer.spec();
  spec.weights_on_input = true;
  EXPECT_THROW(Replay(layer.record(), spec), Error);
}

TEST(Replay, RefusesARecordWhoseRanksMissTheSelection) {
  SyntheticLayer layer{SyntheticOptions{}};
  for (std::size_t n = 0; n < 8; ++n) layer.record().ranked[n] = layer.record().ranked[7];
  EXPECT_THROW(Replay(layer.record(), layer.spec()), Error);
}

}  // namespace
}  // namespace cacheready
