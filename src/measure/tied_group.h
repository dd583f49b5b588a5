// For tests: groups as a plan would hold them, made from the stored rows of a checkpoint.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "checkpoint/checkpoint.h"
#include "records/plan.h"

namespace cacheready {

inline std::string GateOf(std::int64_t layer) {
  return "model.language_model.layers." + std::to_string(layer) + ".mlp.gate.weight";
}

inline std::vector<std::byte> RowOf(const TensorView& tensor, std::int32_t row) {
  const std::size_t size = tensor.bytes.size() / static_cast<std::size_t>(tensor.shape[0]);
  const auto bytes = tensor.bytes.subspan(static_cast<std::size_t>(row) * size, size);
  return {bytes.begin(), bytes.end()};
}

// All members get the row of the first.
inline PlannedGroup TiedToFirst(const Checkpoint& checkpoint, std::int64_t layer,
                                std::vector<std::int32_t> members, double cost = 0) {
  const TensorView& gate = checkpoint.GetTensor(GateOf(layer));
  PlannedTensor weight{gate.name, gate.dtype, RowOf(gate, members.front()), {}};
  for (const std::int32_t member : members) {
    weight.replaced_sha256.push_back(Sha256Hex(RowOf(gate, member)));
  }
  PlannedGroup group;
  group.layer = layer;
  group.rule = "row of expert " + std::to_string(members.front());
  group.members = std::move(members);
  group.tensors = {std::move(weight)};
  group.numbers["cost_taken"] = cost;
  return group;
}

}  // namespace cacheready
