// The end-to-end check of a plan: what tying does to the model's output, against what the profile
// does by itself; a plan that does too much is cut back (docs/formats/check.md).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "measure/selections.h"
#include "measure/summary.h"
#include "model/model.h"
#include "records/plan.h"
#include "text/documents.h"

namespace cacheready {

struct CheckOptions {
  std::string profile;  // "" = the plan's
  std::uint64_t seed = 0;
  double kl_share = 0.5;  // of the profile's own mean KL that tying may cost
  int draws = 2000;
};

// One run against the base.
struct CheckedRun {
  std::string name;
  std::int64_t groups = 0;
  Estimate kl, nll_difference;
  double flips = 0;  // share of token-layers
  double same_top = 1;
  bool accepted = false;
};

struct CheckResult {
  bool accepted = false;  // something of the plan may be written, or the plan is empty
  double limit = 0;       // of the upper limit of KL(base || new)
  std::int64_t tokens = 0, documents = 0;  // tokens: scored
  double effective_documents = 0;
  CheckOptions options;              // profile filled in
  CheckedRun profile;                // the original under its profile; `accepted` means nothing
  std::vector<CheckedRun> prefixes;  // by falling number of groups, each once
  CheckedRun chosen;                 // as measured in the last pass
  // Selections of fp32 against the profile, for the original and for the chosen set; classes are
  // the chosen groups.
  SelectionFlips before, after;
  Plan plan;  // the chosen groups; the others appended to `untied`
};

// Runs the original, the original under the profile and prefixes of the groups (cheapest first)
// over `documents`, in at most two passes. Same input, same result at any number of threads. Fails
// if the plan was made for other weights.
CheckResult CheckPlan(const Model& model, const Checkpoint& checkpoint, const Plan& plan,
                      std::span<const Document> documents, const CheckOptions& options);

// The most variants that one of its passes runs side by side.
inline constexpr std::size_t kMostVariantsOfCheck = 9;

Json ToJson(const CheckResult& result);         // "cacheready.check/1"
Json StabilityJson(const CheckResult& result);  // "cacheready.stability/1"

}  // namespace cacheready
