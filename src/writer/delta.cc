// SPDX-License-Identifier: Apache-2.0
//
// A delta is a safetensors file (docs/formats/delta.md). For each patched tensor T it holds new.T
// and old.T, the rows in T's dtype, and rows.T, their indices (I64, ascending). __metadata__ holds
// the format, the plan's JSON, the SHA-256 of each tensor as a whole before and after, and one over
// the delta's own data.
#include <algorithm>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "io/mapped_file.h"
#include "io/publish.h"
#include "writer/row_ranges.h"
#include "writer/writer.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFormat = "cacheready.delta/1";
constexpr std::string_view kNew = "new.", kOld = "old.", kRows = "rows.";

// ---- writing

struct TensorRows {
  const TensorView* base = nullptr;
  std::vector<const RowPatch*> patches;  // ascending row
  std::vector<std::int64_t> rows;
  std::vector<std::byte> old_bytes, new_bytes;
};

std::map<std::string, TensorRows> GatherRows(const Checkpoint& source,
                                             std::span<const RowPatch> patches) {
  std::map<std::string, TensorRows> tensors;
  for (const RowPatch& patch : patches) {
    TensorRows& tensor = tensors[patch.tensor];
    tensor.base = &source.GetTensor(patch.tensor);
    tensor.patches.push_back(&patch);
  }
  for (auto& [name, tensor] : tensors) {
    std::sort(tensor.patches.begin(), tensor.patches.end(),
              [](const RowPatch* a, const RowPatch* b) { return a->row < b->row; });
    for (const RowPatch* patch : tensor.patches) {
      const std::span<const std::byte> old = GetRow(*tensor.base, patch->row);
      tensor.rows.push_back(patch->row);
      tensor.old_bytes.insert(tensor.old_bytes.end(), old.begin(), old.end());
      tensor.new_bytes.insert(tensor.new_bytes.end(), patch->bytes.begin(), patch->bytes.end());
    }
  }
  return tensors;
}

std::string PatchedSha256(const TensorRows& tensor) {
  std::vector<std::byte> bytes(tensor.base->bytes.begin(), tensor.base->bytes.end());
  for (const RowPatch* patch : tensor.patches) {
    const std::span<const std::byte> old = GetRow(*tensor.base, patch->row);
    std::memcpy(bytes.data() + (old.data() - tensor.base->bytes.data()), patch->bytes.data(),
                old.size());
  }
  return Sha256Hex(bytes);
}

std::string DataSha256(std::span<const NamedTensor> tensors) {
  Sha256 sha;
  for (const NamedTensor& tensor : tensors) sha.Add(tensor.bytes);
  return Hex(sha.Finish());
}

// ---- reading

// One of the delta's tensors as it lies in the file.
struct DeltaTensor {
  const TensorEntry* entry = nullptr;
  std::span<const std::byte> bytes;
};
using DeltaTensors = std::map<std::string, DeltaTensor, std::less<>>;

std::vector<std::int64_t> ReadRowIndices(const DeltaTensor& tensor, std::string_view file) {
  if (tensor.entry->dtype != Dtype::kI64 || tensor.entry->shape.size() != 1) {
    Fail("{}: tensor '{}' is no list of I64 row numbers", file, tensor.entry->name);
  }
  std::vector<std::int64_t> rows(tensor.bytes.size() / sizeof(std::int64_t));
  if (!rows.empty()) std::memcpy(rows.data(), tensor.bytes.data(), tensor.bytes.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] < 0 || (i > 0 && rows[i] <= rows[i - 1])) {
      Fail("{}: tensor '{}': row number {} at place {} is negative or not ascending", file,
           tensor.entry->name, rows[i], i);
    }
  }
  if (rows.empty()) Fail("{}: tensor '{}' names no row", file, tensor.entry->name);
  return rows;
}

const DeltaTensor& GetPart(const DeltaTensors& tensors, std::string_view part,
                           const std::string& name, std::string_view file) {
  const auto at = tensors.find(std::string(part) + name);
  if (at == tensors.end()) Fail("{}: tensor '{}{}' is missing", file, part, name);
  return at->second;
}

void AddPatches(const DeltaTensors& tensors, const std::string& name, std::string_view file,
                Delta& delta) {
  const DeltaTensor& added = GetPart(tensors, kNew, name, file);
  const DeltaTensor& removed = GetPart(tensors, kOld, name, file);
  const std::vector<std::int64_t> rows = ReadRowIndices(GetPart(tensors, kRows, name, file), file);
  const auto& shape = added.entry->shape;
  if (added.entry->dtype != removed.entry->dtype || shape != removed.entry->shape ||
      shape.empty() || shape[0] != static_cast<std::int64_t>(rows.size()) || added.bytes.empty()) {
    Fail("{}: tensors '{}{}' and '{}{}' are not {} rows of one dtype and shape", file, kNew, name,
         kOld, name, rows.size());
  }
  const std::size_t row_bytes = added.bytes.size() / rows.size();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row_of = [&](const DeltaTensor& tensor) {
      const auto row = tensor.bytes.subspan(i * row_bytes, row_bytes);
      return std::vector<std::byte>(row.begin(), row.end());
    };
    const std::vector<std::byte> new_row = row_of(added);
    const std::vector<std::byte> old_row = row_of(removed);
    const Dtype dtype = added.entry->dtype;
    delta.apply.push_back({name, rows[i], new_row, Sha256Hex(old_row), dtype});
    delta.revert.push_back({name, rows[i], old_row, Sha256Hex(new_row), dtype});
  }
}

std::map<std::string, std::string> ReadHashes(const std::string& text, const std::string& what) {
  const Json json = ParseJson(text, what);
  if (!json.is_object()) Fail("{}: is no object of hashes by tensor", what);
  std::map<std::string, std::string> hashes;
  for (const auto& [tensor, unused] : json.items()) {
    hashes[tensor] = GetString(json, tensor, what);
    if (hashes[tensor].size() != 64) Fail("{}: tensor '{}' has no SHA-256", what, tensor);
  }
  return hashes;
}

std::map<std::string, std::string> ReadMetadata(const SafetensorsHeader& header,
                                                std::string_view file) {
  const std::set<std::string> expected = {"format", "plan", "base_sha256", "patched_sha256",
                                          "data_sha256"};
  std::map<std::string, std::string> metadata(header.metadata.begin(), header.metadata.end());
  for (const auto& [key, value] : metadata) {
    if (!expected.contains(key))
      Fail("{}: metadata '{}' is not known; is this a delta?", file, key);
  }
  for (const std::string& key : expected) {
    if (!metadata.contains(key)) Fail("{}: metadata '{}' is missing; is this a delta?", file, key);
  }
  if (metadata["format"] != kFormat) {
    Fail("{}: format is '{}', expected '{}'", file, metadata["format"], kFormat);
  }
  return metadata;
}

void CheckNames(const Delta& delta, const DeltaTensors& tensors, std::string_view file) {
  std::set<std::string> names;
  for (const RowPatch& patch : delta.apply) names.insert(patch.tensor);
  if (tensors.size() != 3 * names.size()) {
    Fail("{}: holds {} tensors, expected new, old and rows of {} tensors", file, tensors.size(),
         names.size());
  }
  for (const auto* hashes : {&delta.base_sha256, &delta.patched_sha256}) {
    for (const std::string& name : names) {
      if (!hashes->contains(name)) Fail("{}: metadata has no hash of tensor '{}'", file, name);
    }
    if (hashes->size() != names.size()) {
      Fail("{}: metadata has hashes of {} tensors, expected {}", file, hashes->size(),
           names.size());
    }
  }
}

void CheckPlanIsTheSame(const Delta& delta, const std::string& file) {
  if (delta.plan_json.empty()) return;
  const std::string what = file + ": the plan inside";
  const std::vector<RowPatch> planned =
      RowPatches(PlanFromJson(ParseJson(delta.plan_json, what), what));
  const auto same = [](const RowPatch& a, const RowPatch& b) {
    return a.tensor == b.tensor && a.row == b.row && a.bytes == b.bytes &&
           a.replaced_sha256 == b.replaced_sha256 && a.dtype == b.dtype;
  };
  const auto [ours, theirs] =
      std::mismatch(delta.apply.begin(), delta.apply.end(), planned.begin(), planned.end(), same);
  if (ours == delta.apply.end() && theirs == planned.end()) return;
  const RowPatch& first = ours != delta.apply.end() ? *ours : *theirs;
  Fail("{}: tensor '{}' row {} is not as in the plan inside", file, first.tensor, first.row);
}

}  // namespace

void WriteDelta(const Checkpoint& source, std::span<const RowPatch> patches,
                const std::string& plan_json, const fs::path& delta) {
  LocateRows(source, patches);  // the same refusals as for a checkpoint
  const std::map<std::string, TensorRows> tensors = GatherRows(source, patches);
  std::vector<NamedTensor> parts;
  parts.reserve(2 * tensors.size());
  Json base = Json::object();
  Json patched = Json::object();
  for (const auto& [name, tensor] : tensors) {  // first, so that all data is aligned
    parts.push_back({std::string(kRows) + name,
                     Dtype::kI64,
                     {static_cast<std::int64_t>(tensor.rows.size())},
                     std::as_bytes(std::span(tensor.rows))});
  }
  for (const auto& [name, tensor] : tensors) {
    std::vector<std::int64_t> shape = tensor.base->shape;
    if (tensor.base->NumRows() != shape[0]) shape.pop_back();  // [1, n]: rows of one entry
    shape[0] = static_cast<std::int64_t>(tensor.rows.size());
    parts.push_back({std::string(kNew) + name, tensor.base->dtype, shape, tensor.new_bytes});
    parts.push_back({std::string(kOld) + name, tensor.base->dtype, shape, tensor.old_bytes});
    base[name] = Sha256Hex(tensor.base->bytes);
    patched[name] = PatchedSha256(tensor);
  }
  const std::vector<std::pair<std::string, std::string>> metadata = {
      {"format", std::string(kFormat)},   {"plan", plan_json},
      {"base_sha256", base.dump()},       {"patched_sha256", patched.dump()},
      {"data_sha256", DataSha256(parts)},
  };
  PublishFile(delta, SerializeSafetensors(parts, metadata));
}

Delta ReadDelta(const fs::path& path) {
  const std::string file = path.string();
  const MappedFile mapped(path);
  const SafetensorsHeader header =
      ParseSafetensorsHeader(mapped.bytes(), mapped.bytes().size(), file);
  std::map<std::string, std::string> metadata = ReadMetadata(header, file);
  const auto data = mapped.bytes().subspan(header.data_begin);
  if (Sha256Hex(data) != metadata["data_sha256"]) {
    Fail("{}: its rows do not match its own SHA-256; it is damaged", file);
  }
  DeltaTensors tensors;
  for (const TensorEntry& entry : header.tensors) {
    tensors[entry.name] = {&entry, data.subspan(entry.begin, entry.end - entry.begin)};
  }
  Delta delta;
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with(kNew)) AddPatches(tensors, name.substr(kNew.size()), file, delta);
  }
  delta.plan_json = metadata["plan"];
  delta.base_sha256 = ReadHashes(metadata["base_sha256"], file + ": base_sha256");
  delta.patched_sha256 = ReadHashes(metadata["patched_sha256"], file + ": patched_sha256");
  CheckNames(delta, tensors, file);
  CheckPlanIsTheSame(delta, file);
  return delta;
}

void CheckDeltaBase(const Delta& delta, const Checkpoint& source, bool revert) {
  for (const auto& [name, expected] : revert ? delta.patched_sha256 : delta.base_sha256) {
    const TensorView& tensor = source.GetTensor(name);
    const std::string found = Sha256Hex(tensor.bytes);
    if (found != expected) {
      Fail("{}: tensor '{}' has SHA-256 {}, the delta expects {}; it was made for other weights",
           tensor.file, name, found, expected);
    }
  }
}

}  // namespace cacheready
