// SPDX-License-Identifier: Apache-2.0
#include "writer/row_ranges.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"

namespace cacheready {
namespace {

bool IsUnquantizedFloat(Dtype dtype) {
  return dtype == Dtype::kBF16 || dtype == Dtype::kF16 || dtype == Dtype::kF32 ||
         dtype == Dtype::kF64;
}

void CheckOldRow(const RowPatch& patch, const TensorView& tensor, std::span<const std::byte> old) {
  if (patch.dtype != tensor.dtype) {
    Fail("{}: tensor '{}' is stored as {}, the plan's row {} as {}", tensor.file, tensor.name,
         DtypeName(tensor.dtype), patch.row, DtypeName(patch.dtype));
  }
  if (patch.bytes.size() != old.size()) {
    Fail("{}: tensor '{}' has rows of {} bytes, the plan's row {} has {}", tensor.file, tensor.name,
         old.size(), patch.row, patch.bytes.size());
  }
  const std::string found = Sha256Hex(old);
  if (found == patch.replaced_sha256) return;
  if (std::equal(old.begin(), old.end(), patch.bytes.begin())) {
    Fail("{}: tensor '{}' row {} already holds the planned bytes; was the plan applied before?",
         tensor.file, tensor.name, patch.row);
  }
  Fail(
      "{}: tensor '{}' row {} has SHA-256 {}, the plan replaces a row with {}; the plan was made "
      "for other weights",
      tensor.file, tensor.name, patch.row, found, patch.replaced_sha256);
}

}  // namespace

std::span<const std::byte> GetRow(const TensorView& tensor, std::int64_t row) {
  if (!IsUnquantizedFloat(tensor.dtype)) {
    Fail("{}: tensor '{}' is stored as {}; only BF16, F16, F32 and F64 rows can be patched",
         tensor.file, tensor.name, DtypeName(tensor.dtype));
  }
  if (row < 0 || row >= tensor.NumRows()) {
    Fail("{}: tensor '{}' of shape {} has no row {}", tensor.file, tensor.name,
         ShapeText(tensor.shape), row);
  }
  const std::size_t row_bytes = tensor.bytes.size() / static_cast<std::size_t>(tensor.NumRows());
  return tensor.bytes.subspan(static_cast<std::size_t>(row) * row_bytes, row_bytes);
}

std::vector<std::vector<RowRange>> LocateRows(const Checkpoint& source,
                                              std::span<const RowPatch> patches) {
  std::vector<std::vector<RowRange>> ranges(source.shards().size());
  for (const RowPatch& patch : patches) {
    const TensorView& tensor = source.GetTensor(patch.tensor);
    const std::span<const std::byte> old = GetRow(tensor, patch.row);
    CheckOldRow(patch, tensor, old);
    const TensorPlace place = source.GetPlace(patch.tensor);
    const auto row_begin = static_cast<std::uint64_t>(old.data() - tensor.bytes.data());
    ranges[place.shard].push_back({place.offset_bytes + row_begin, patch.bytes});
  }
  for (std::size_t s = 0; s < ranges.size(); ++s) {
    const auto by_offset = [](const RowRange& a, const RowRange& b) {
      return a.offset_bytes < b.offset_bytes;
    };
    std::sort(ranges[s].begin(), ranges[s].end(), by_offset);
    const auto twice = std::adjacent_find(ranges[s].begin(), ranges[s].end(),
                                          [](const RowRange& a, const RowRange& b) {
                                            return a.offset_bytes + a.bytes.size() > b.offset_bytes;
                                          });
    if (twice != ranges[s].end()) {
      Fail("{}: the row at byte {} is patched twice", source.shards()[s].file, twice->offset_bytes);
    }
  }
  return ranges;
}

}  // namespace cacheready
