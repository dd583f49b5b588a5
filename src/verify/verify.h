// Proof from the bytes that OUT is SRC with the planned rows and nothing else. Uses the reader,
// never the writer. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "records/plan.h"

namespace cacheready {

struct VerifyOptions {
  std::optional<std::filesystem::path> plan;  // else OUT's own cacheready-plan.json, else none
  bool hash = true;  // SHA-256 of every file of SRC (and of changed files of OUT)
  std::int64_t max_findings = 20;
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
  std::vector<Finding> findings;  // first max_findings; passed == findings.empty()
  std::vector<VerifiedFile> files;
  std::int64_t tensors = 0, tensors_changed = 0, rows_changed = 0, groups_identical = 0;
  std::uint64_t bytes_compared = 0, bytes_changed = 0;
};

Verification VerifyCheckpoint(const std::filesystem::path& source, const std::filesystem::path& out,
                              const VerifyOptions& options);
Json ToJson(const Verification& verification);

}  // namespace cacheready
