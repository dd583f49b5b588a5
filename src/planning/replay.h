// The routing of a layer replayed with edited router rows: which selections change, by how much the
// layer's output moves, exactly, without running an expert.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/router.h"
#include "planning/output_change.h"
#include "records/scan_record.h"

namespace cacheready {

// All members get one row: the same logit for each token, the same selection bias.
struct RowEdit {
  std::span<const std::int32_t> members;
  std::span<const float> logits;  // [tokens], logit bias included
  float selection_bias = 0;       // used only if the router has one
};

// Tokens whose selection or weights an edit may change, with what they become.
struct ReplayedTokens {
  std::vector<std::int32_t> tokens;    // ascending
  Routing routing;                     // of these tokens
  std::vector<double> squared_change;  // (|y' - y| / |y|)^2 of these tokens, y of the stored router
  std::vector<Knowledge> known;        // of these tokens: the worst of what came in
  double mean_square_rise = 0;         // over all tokens, against what is committed
};

// What routing changes amount to, against the stored router.
struct RoutingEffects {
  double class_counts_changed = 0;  // share of tokens with another number of members in some class
  double gate_mass_moved = 0;       // mean over tokens of sum_c |G'_c - G_c| / 2
  double rms_change = 0;            // RMS over tokens of |y' - y| / |y|
  std::int64_t stand_in_tokens = 0, bounded_tokens = 0;  // Knowledge of the tokens
};

class Replay {
 public:
  // Requires record.ranked_per_token > 0 (a layer with candidates). Fails if the stored ranks miss
  // a selected expert. `record` and `distances` (may be null) must outlive the replay.
  Replay(const LayerRecord& record, RouterSpec spec, const OutputDistances* distances = nullptr);

  ReplayedTokens Evaluate(const RowEdit& edit) const;
  void Commit(const RowEdit& edit, const ReplayedTokens& replayed);

  const RouterSpec& spec() const { return spec_; }
  const Matrix& logits() const { return logits_; }  // with all that is committed
  const Routing& stored_routing() const { return stored_; }
  const Routing& routing() const { return current_; }
  std::int64_t tokens() const { return stored_.tokens(); }
  double mean_square_change() const { return mean_square_; }

  // Effects of a replayed edit alone. `class_of` [experts] numbers the classes.
  RoutingEffects EffectsOf(const ReplayedTokens& replayed,
                           std::span<const std::int32_t> class_of) const;
  // Effects of all that is committed.
  RoutingEffects EffectsOfCommitted(std::span<const std::int32_t> class_of) const;

 private:
  bool MayChange(const RowEdit& edit, std::int64_t token) const;
  double EntryLevel(std::int64_t token) const;
  double SquaredChange(std::int64_t token, std::span<const std::int32_t> ids,
                       std::span<const float> weights, Knowledge& known) const;

  const LayerRecord& record_;
  RouterSpec spec_;
  OutputChange change_;
  bool only_selected_matter_;
  Matrix logits_;  // current
  Routing stored_, current_;
  std::vector<double> squared_change_;  // [tokens], of current_
  std::vector<Knowledge> known_;        // [tokens]
  std::vector<double> level_;           // [tokens]: what an expert must rank above to be selected
  double mean_square_ = 0;
};

}  // namespace cacheready
