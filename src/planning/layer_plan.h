// The plan of one layer: judge pairs, group, choose rows, take groups within the budget, and tell
// it all as numbers. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "base/json.h"
#include "model/router.h"
#include "planning/grouping.h"
#include "planning/pair_evidence.h"
#include "planning/text_layout.h"
#include "records/plan.h"
#include "records/scan_record.h"

namespace cacheready {

struct LayerPlanOptions {
  EvidenceRule evidence;
  double budget = 0.5;         // of the layer's mean squared profile change
  std::int64_t max_group = 0;  // 0: top k
  bool split_half = true;      // measure how well the groups of two halves of the text agree
};

// Decoys of one layer: experts with noise at twice the threshold. Any that passes refutes the
// method.
struct DecoyCounts {
  std::int64_t measured = 0, refused = 0, without_evidence = 0;
};

struct LayerPlan {
  std::vector<PlannedGroup> groups;  // by first member
  Json untied;                       // array: equivalent, not tied
  Json summary;                      // object
  DecoyCounts decoys;
  double split_half_agreement = 1;  // pair Jaccard; counted only if either half found a group
  bool split_half_found = false;
  std::int64_t experts = 0, confirmed_experts = 0, tied_experts = 0;
};

// The router of a record. Fails unless the record is of this text and has that router's experts.
RouterSpec CheckRecord(const TextLayout& text, const LayerRecord& record);

LayerPlan PlanLayer(const TextLayout& text, const LayerRecord& record,
                    const LayerPlanOptions& options);

}  // namespace cacheready
