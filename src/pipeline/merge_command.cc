// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <filesystem>

#include "cacheready/cacheready.h"
#include "pipeline/scan_command.h"
#include "pipeline/text_table.h"
#include "scan/merge.h"

namespace cacheready {

Outcome Merge(const MergeRequest& request) {
  const ScanParts parts =
      OpenParts(std::vector<std::filesystem::path>(request.parts.begin(), request.parts.end()));
  if (!request.dry_run) {
    MergeParts(parts, {.fresh = request.fresh, .after_layer = {}}, request.out);
  }
  Json json = HeaderJson(parts.whole, request.out);
  json["schema"] = "cacheready.merge-result/1";
  json["parts"] = parts.folders.size();
  json["record_bytes"] = parts.record_bytes;
  FactList facts;
  facts.Add("parts", fmt::format("{}, all there, of one scan", parts.folders.size()));
  facts.Add(request.dry_run ? "to be read" : "read", ByteText(parts.record_bytes));
  std::string summary = facts.Text();
  if (!request.dry_run) summary += HeaderText(parts.whole, request.out);
  return {.json = WriteJson(json), .summary = summary};
}

}  // namespace cacheready
