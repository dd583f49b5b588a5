// Scans of all parts of the documents, made one scan (docs/formats/scan.md, docs/clusters.md).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <vector>

#include "records/scan_record.h"

namespace cacheready {

struct ScanParts {
  ScanHeader whole;                            // of the merged scan
  std::vector<std::filesystem::path> folders;  // of parts 1 ... N, in order
  std::uint64_t record_bytes = 0;              // of all layer records of all parts
};

// Opens the parts, given in any order. Fails, naming the folders, unless they are all the parts,
// each once, of one scan: same checkpoint, program, numerics class, profile, options and documents.
ScanParts OpenParts(std::span<const std::filesystem::path> folders);

struct MergeOptions {
  bool fresh = false;  // discard what another scan left in the folder
  // Called after each written layer; may throw (tests interrupt here).
  std::function<void(std::int64_t layer)> after_layer;
};

// Writes the scan of the whole into folder `out` (made if absent): the very bytes that an unsplit
// scan writes. The header comes last, so that a killed merge leaves no finished scan; it is simply
// run again. A finished merge of the same parts is left as it is. Throws Interrupted between
// layers. Fails if `out` is one of the parts, or holds another scan (unless options.fresh).
void MergeParts(const ScanParts& parts, const MergeOptions& options,
                const std::filesystem::path& out);

}  // namespace cacheready
