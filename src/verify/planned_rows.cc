// SPDX-License-Identifier: Apache-2.0
#include "verify/planned_rows.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/hash.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

using RowKey = std::pair<std::string, std::int64_t>;  // tensor, row
using RowsOfOut = std::map<RowKey, std::vector<std::byte>>;

// Why the source's tensor cannot have this row replaced; "" if it can.
std::string WhyRowDoesNotFit(const RowPatch& patch, const TensorView& tensor) {
  if (patch.row < 0 || patch.row >= tensor.NumRows()) {
    return fmt::format("the plan names row {}, the shape is {}", patch.row,
                       ShapeText(tensor.shape));
  }
  if (patch.dtype != tensor.dtype) {
    return fmt::format("the plan's row {} is {}, the tensor is {}", patch.row,
                       DtypeName(patch.dtype), DtypeName(tensor.dtype));
  }
  const std::size_t row_bytes = tensor.bytes.size() / static_cast<std::size_t>(tensor.NumRows());
  if (patch.bytes.size() != row_bytes) {
    return fmt::format("the plan's row {} has {} bytes, the tensor's rows have {}", patch.row,
                       patch.bytes.size(), row_bytes);
  }
  const std::string found =
      Sha256Hex(tensor.bytes.subspan(static_cast<std::size_t>(patch.row) * row_bytes, row_bytes));
  if (found != patch.replaced_sha256) {
    return fmt::format("the source's row {} has SHA-256 {}, the plan replaces a row with {}",
                       patch.row, found, patch.replaced_sha256);
  }
  return "";
}

void CompareToPlan(const PlannedRow& row, std::span<const std::byte> found, const Shard& shard,
                   std::vector<Finding>& findings) {
  const auto& expected = row.patch.bytes;
  const auto [at, unused] =
      std::mismatch(expected.begin(), expected.end(), found.begin(), found.end());
  if (at == expected.end()) return;
  const auto column = static_cast<std::uint64_t>(at - expected.begin());
  findings.push_back(
      {shard.file, row.patch.tensor, row.range.begin + column,
       fmt::format("row {} is not the planned row, from its byte {} on", row.patch.row, column)});
}

bool IsGroupIdentical(const PlannedGroup& group, const RowsOfOut& rows) {
  for (const PlannedTensor& tensor : group.tensors) {
    const auto first = rows.find({tensor.tensor, group.members.front()});
    for (const std::int32_t member : group.members) {
      const auto row = rows.find({tensor.tensor, member});
      if (row == rows.end() || row->second != first->second) return false;
    }
  }
  return true;
}

}  // namespace

std::vector<PlannedRow> LocatePlannedRows(const Checkpoint& source, const Plan& plan,
                                          std::vector<Finding>& findings) {
  std::vector<PlannedRow> rows;
  for (RowPatch& patch : RowPatches(plan)) {
    const TensorView* tensor = source.FindTensor(patch.tensor);
    if (tensor == nullptr) {
      findings.push_back({"", patch.tensor, 0, "the plan names a tensor that the source has not"});
      continue;
    }
    const TensorPlace place = source.GetPlace(patch.tensor);
    const std::string reason = WhyRowDoesNotFit(patch, *tensor);
    if (!reason.empty()) {
      findings.push_back({std::string(tensor->file), patch.tensor, place.offset_bytes, reason});
      continue;
    }
    const std::uint64_t begin =
        place.offset_bytes + static_cast<std::uint64_t>(patch.row) * patch.bytes.size();
    const ByteRange range{begin, begin + patch.bytes.size()};
    rows.push_back({std::move(patch), place.shard, range});
  }
  std::sort(rows.begin(), rows.end(), [](const PlannedRow& a, const PlannedRow& b) {
    return std::pair(a.shard, a.range.begin) < std::pair(b.shard, b.range.begin);
  });
  return rows;
}

std::int64_t CheckPlannedRows(const Checkpoint& source, const Plan& plan,
                              const std::vector<PlannedRow>& rows, const fs::path& out,
                              std::vector<Finding>& findings) {
  RowsOfOut rows_of_out;
  for (const PlannedRow& row : rows) {
    const Shard& shard = source.shards()[row.shard];
    if (!fs::is_regular_file(out / shard.file)) continue;  // already a finding
    auto& bytes = rows_of_out[{row.patch.tensor, row.patch.row}];
    bytes = ReadRange(out / shard.file, row.range);
    CompareToPlan(row, bytes, shard, findings);
  }
  return std::count_if(plan.groups.begin(), plan.groups.end(), [&](const PlannedGroup& group) {
    return IsGroupIdentical(group, rows_of_out);
  });
}

}  // namespace cacheready
