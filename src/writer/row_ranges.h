// Where in which shard the rows to be patched lie.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "records/plan.h"

namespace cacheready {

// Bytes to be laid over a file. Valid while the patches live.
struct RowRange {
  std::uint64_t offset_bytes = 0;  // in the file
  std::span<const std::byte> bytes;
};

// Row `row` of a tensor [rows, ...], or entry `row` of a vector. Fails, naming file and tensor, if
// the tensor is a scalar, is stored quantized, or has no such row.
std::span<const std::byte> GetRow(const TensorView& tensor, std::int64_t row);

// The ranges of each shard of source.shards(), ascending and disjoint. Fails if a tensor is
// missing, quantized or of another row size, if a row is named twice, or if the SHA-256 of the
// bytes to be replaced is not the patch's.
std::vector<std::vector<RowRange>> LocateRows(const Checkpoint& source,
                                              std::span<const RowPatch> patches);

}  // namespace cacheready
