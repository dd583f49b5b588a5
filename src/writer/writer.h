// Patching a checkpoint: shards are copied and listed byte ranges laid in; nothing is ever
// re-serialized. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "io/read_way.h"
#include "records/plan.h"

namespace cacheready {

enum class LinkMode : std::uint8_t { kAuto /* reflink, else copy */, kReflink, kHardlink, kCopy };

struct WriteOptions {
  LinkMode link = LinkMode::kAuto;
  bool force = false;  // replace an existing OUT (renameat2 EXCHANGE, then remove the old)
  bool dry_run = false;
  bool include_outside_index =
      false;  // carry original/, consolidated* along although they hold router copies
  ReadMode io = ReadMode::kAuto;  // of reading what is copied, and of writing the copy
  std::uint64_t max_memory = 0;   // of the process; 0: as BoundMemory
};

struct WrittenFile {
  std::string path;  // relative to OUT
  std::uint64_t bytes = 0;
  std::string method;  // "reflink", "copy", "hard link", "patched copy", "patched reflink", "new";
                       // in a dry run "... or copy" where only trying would tell
  std::uint64_t patched_bytes = 0;
};

struct WriteResult {
  std::vector<WrittenFile> files;  // ascending path
  std::uint64_t bytes_total = 0, bytes_copied = 0;
  std::vector<std::string> left_out;  // files of the source, or folders with a final '/'
  std::vector<std::string> warnings;  // for people: aliasing hard links, links that became copies
  bool resumed = false;
};

// Writes `patches` applied to `source` as the folder `out`, with the plan (plan_json, if not empty)
// inside it, sealed, as cacheready-plan.json. Fails before writing anything if a replaced row's
// SHA-256 differs, a tensor is missing, of another shape or quantized, space or memory is short,
// `out` exists (without force) or lies inside the source. Killed at any point, a second call
// finishes to the same bytes; the source is never opened for writing.
WriteResult WriteCheckpoint(const Checkpoint& source, std::span<const RowPatch> patches,
                            const std::string& plan_json, const std::filesystem::path& out,
                            const WriteOptions& options);

// True if a write of `out` was stopped, even after `out` was whole: the same call goes on from
// there.
bool IsWriteUnfinished(const std::filesystem::path& out);

// The delta: a small safetensors file with the new and the old rows, the plan, and the base's
// hashes.
void WriteDelta(const Checkpoint& source, std::span<const RowPatch> patches,
                const std::string& plan_json, const std::filesystem::path& delta);
struct Delta {
  std::vector<RowPatch> apply;   // new bytes, hash of old; ascending (tensor, row)
  std::vector<RowPatch> revert;  // old bytes, hash of new; ascending (tensor, row)
  std::string plan_json;         // may be empty
  // SHA-256 of each patched tensor as a whole, before and after.
  std::map<std::string, std::string> base_sha256, patched_sha256;
};
// Strict: a delta comes from outside. Fails on anything but what WriteDelta makes
// (docs/formats/delta.md), on a hash that does not match, and on rows that are not the plan's.
Delta ReadDelta(const std::filesystem::path& delta);

// Fails, naming the tensor, unless the patched tensors of `source` are, as a whole, those that the
// delta was made from (or, for a revert, those that it makes).
void CheckDeltaBase(const Delta& delta, const Checkpoint& source, bool revert);

}  // namespace cacheready
