// Proof from the bytes that OUT is SRC with the planned rows and nothing else. Uses the reader,
// never the writer. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "io/read_way.h"
#include "records/plan.h"

namespace cacheready {

struct VerifyOptions {
  std::optional<std::filesystem::path> plan;  // else OUT's own cacheready-plan.json, else none
  bool hash = true;  // SHA-256 of every file of SRC (and of changed files of OUT)
  std::int64_t max_findings = 20;
  ReadMode io = ReadMode::kAuto;
  std::uint64_t max_memory = 0;  // of the process; 0: as BoundMemory. Never changes the result
};

struct Finding {
  std::string file;
  std::string tensor;              // "" for header bytes and non-tensor files
  std::uint64_t offset_bytes = 0;  // in the file
  std::string message;
};

struct VerifiedFile {
  std::string path, sha256_source, sha256_out;  // "" with hash off
  std::uint64_t bytes = 0, changed_bytes = 0;
  bool same_inode = false;
};

struct Verification {
  bool passed = false;
  bool checked_against_plan = false;
  std::vector<Finding> findings;    // first max_findings by file and offset
  std::int64_t findings_total = 0;  // passed == (findings_total == 0)
  std::vector<VerifiedFile> files;  // ascending path
  // Source files that OUT need not have and has not: weight files outside the index, .git, .cache.
  std::vector<std::string> left_out;
  std::int64_t tensors = 0, tensors_changed = 0, rows_changed = 0, groups_identical = 0;
  std::uint64_t bytes_compared = 0, bytes_changed = 0;
};

// Everything that is wrong with OUT is a finding, its headers and plan included. Without a plan any
// change is a finding. A plan inside OUT must carry its own hash (records/sealed_plan.h) and, if
// options.plan is given, be that plan. Fails only if the source, options.plan or the disk cannot be
// read, or if the memory is too little for one file.
Verification VerifyCheckpoint(const std::filesystem::path& source, const std::filesystem::path& out,
                              const VerifyOptions& options);
Json ToJson(const Verification& verification);

}  // namespace cacheready
