// The rows of a plan in the source's files, and their proof in OUT.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "records/plan.h"
#include "verify/compare_files.h"
#include "verify/verify.h"

namespace cacheready {

struct PlannedRow {
  RowPatch patch;
  std::size_t shard = 0;
  ByteRange range;
};

// Ascending (shard, range.begin). A row that the source has not, in this size and with this hash,
// becomes a finding and is left out.
std::vector<PlannedRow> LocatePlannedRows(const Checkpoint& source, const Plan& plan,
                                          std::vector<Finding>& findings);

// Reads every located row from OUT: it must equal the plan's. Then every group: its members' rows
// must equal each other, in each of its tensors. Returns the number of groups for which they do.
std::int64_t CheckPlannedRows(const Checkpoint& source, const Plan& plan,
                              const std::vector<PlannedRow>& rows, const std::filesystem::path& out,
                              std::vector<Finding>& findings);

}  // namespace cacheready
