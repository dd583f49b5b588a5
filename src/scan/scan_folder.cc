// SPDX-License-Identifier: Apache-2.0
#include "scan/scan_folder.h"

#include <string>
#include <vector>

#include "base/error.h"

namespace cacheready {

bool IsFinishedScan(const std::filesystem::path& out, const ScanHeader& header) {
  if (!std::filesystem::exists(out / "scan.json")) return false;
  const ScanHeader there = ReadScanHeader(out);
  if (there.key == header.key && there.part == header.part) return true;
  Fail(
      "{}: holds a scan of another checkpoint, text, part, seed or option; choose another folder, "
      "or discard it with --fresh",
      out.string());
}

void DiscardScan(const std::filesystem::path& scan) {
  if (!std::filesystem::is_directory(scan)) return;
  std::vector<std::filesystem::path> ours;
  for (const auto& entry : std::filesystem::directory_iterator(scan)) {
    const std::string name = entry.path().filename().string();
    const bool tensors = name.ends_with(".safetensors");
    if (name == "scan.json" || name == "journal" || (tensors && name.starts_with("layer-")) ||
        (tensors && name.starts_with("state-"))) {
      ours.push_back(entry.path());
    }
  }
  for (const std::filesystem::path& path : ours) std::filesystem::remove(path);
}

}  // namespace cacheready
