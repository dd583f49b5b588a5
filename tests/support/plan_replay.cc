// SPDX-License-Identifier: Apache-2.0
#include "support/plan_replay.h"

#include <span>
#include <vector>

#include "planning/canonical_rows.h"
#include "planning/replay.h"
#include "tensor/tensor_view.h"

namespace cacheready {
namespace {

std::vector<float> ValuesOf(const PlannedTensor& planned) {
  TensorView view;
  view.name = planned.tensor;
  view.dtype = planned.dtype;
  view.shape = {static_cast<std::int64_t>(planned.row.size()) * 8 / DtypeBits(planned.dtype)};
  view.bytes = planned.row;
  return ReadFloats(view);
}

RowCandidate RowOf(const RouterRecord& router, const PlannedGroup& group) {
  RowCandidate row;
  for (const PlannedTensor& planned : group.tensors) {
    const std::vector<float> values = ValuesOf(planned);
    if (planned.tensor == router.weight_tensor) {
      row.weight = planned.row;
      row.weight_values = values;
    } else if (planned.tensor == router.logit_bias_tensor) {
      row.logit_bias = planned.row;
      row.logit_bias_value = values.at(0);
    } else if (planned.tensor == router.selection_bias_tensor) {
      row.selection_bias = planned.row;
      row.selection_bias_value = values.at(0);
    }
  }
  return row;
}

}  // namespace

Routing ReplayPlan(const LayerRecord& record, const Plan& plan) {
  Replay replay(record, RouterSpecFromJson(record.router.spec, "router spec"));
  for (const PlannedGroup& group : plan.groups) {
    if (group.layer != record.layer) continue;
    const RowCandidate row = RowOf(record.router, group);
    const Matrix column = CandidateLogits(record.x, std::span(&row, 1));
    const RowEdit edit{group.members, column.values(), row.selection_bias_value};
    replay.Commit(edit, replay.Evaluate(edit));
  }
  return replay.routing();
}

}  // namespace cacheready
