// The plan: which router rows to write, why, and the numbers behind it. Names tensors and rows
// only: no shard, offset, path, time, host or thread count, so one plan fits every upload whose
// gates are equal (docs/formats/plan.md). SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tensor/dtype.h"

namespace cacheready {

// One stored row (or bias entry) that all members of a group will share.
struct PlannedTensor {
  std::string tensor;
  Dtype dtype = Dtype::kBF16;
  std::vector<std::byte> row;                // new bytes, stored dtype
  std::vector<std::string> replaced_sha256;  // of each member's old bytes, in member order
};

struct PlannedGroup {
  std::int64_t layer = 0;
  std::vector<std::int32_t> members;   // ascending
  std::string rule;                    // "mean", "usage-weighted mean", "row of expert 12"
  std::vector<PlannedTensor> tensors;  // weight, then biases
  Json numbers;                        // distances, thresholds, effects: for the report
};

struct Plan {
  std::string tool_version;
  std::string family, profile, numerics_class, scan_key, layout_sha256;
  double tolerance = 1, budget = 0.5;
  std::vector<PlannedGroup> groups;  // ascending (layer, first member)
  Json untied;    // equivalent, not tied: array with the gate mass each would move
  Json layers;    // per-layer summary
  Json controls;  // decoys, split-half, permuted, router-correlation
  Json text;      // domains, longest context, tokens, documents
};

Json ToJson(const Plan& plan);
Plan PlanFromJson(const Json& json,
                  std::string_view what);  // Fails on anything malformed, naming it
Plan ReadPlan(const std::string& path);

// The bytes to be written, flattened: one entry per (tensor, row).
struct RowPatch {
  std::string tensor;
  std::int64_t row = 0;
  std::vector<std::byte> bytes;
  std::string replaced_sha256;
  Dtype dtype = Dtype::kBF16;
};
std::vector<RowPatch> RowPatches(
    const Plan& plan);  // ascending (tensor, row); Fails on a row named twice

}  // namespace cacheready
