// The JSON files by which stages talk, and where they lie in a run folder.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

#include "base/json.h"

namespace cacheready {

// Everything that one run of the main job leaves behind.
struct RunFolder {
  std::filesystem::path folder;

  std::filesystem::path scan() const { return folder / "scan"; }
  std::filesystem::path scanned_plan() const { return folder / "scanned-plan.json"; }
  std::filesystem::path plan() const { return folder / "plan.json"; }
  std::filesystem::path check() const { return folder / "check.json"; }
  std::filesystem::path stability() const { return folder / "stability.json"; }
  std::filesystem::path verification() const { return folder / "verification.json"; }
  std::filesystem::path evaluation() const { return folder / "eval.json"; }
  std::filesystem::path run() const { return folder / "run.json"; }
  std::filesystem::path report() const { return folder / "report.md"; }
  std::filesystem::path summary() const { return folder / "report.json"; }
};

void WriteJsonFile(const std::filesystem::path& path, const Json& json);
Json ReadJsonFile(const std::filesystem::path& path);
Json ReadJsonFileIfThere(const std::filesystem::path& path);  // null if absent

// Fails if `out` cannot become a file: a folder of that name, or no parent folder.
void RequireWritablePlace(const std::filesystem::path& out);

}  // namespace cacheready
