// SPDX-License-Identifier: Apache-2.0
#include "pipeline/apply_command.h"

#include <map>

#include "base/console.h"
#include "base/error.h"
#include "cacheready/cacheready.h"
#include "checkpoint/checkpoint.h"
#include "pipeline/files.h"
#include "pipeline/reading.h"
#include "pipeline/text_table.h"
#include "records/plan.h"

namespace cacheready {
namespace {

// What is to be laid over SRC, whichever file it came from.
struct Change {
  std::vector<RowPatch> patches;
  std::string plan_json;  // to be carried by OUT; "" when a change is undone
};

bool IsDelta(const std::string& file) { return file.ends_with(".safetensors"); }

Change ReadChange(const ApplyRequest& request, const Checkpoint& source) {
  if (!IsDelta(request.change)) {
    if (request.revert) {
      Fail("--revert needs a delta (x.delta.safetensors): {} holds the new rows only",
           request.change);
    }
    const Plan plan = ReadPlan(request.change);
    return {RowPatches(plan), WriteJson(ToJson(plan))};
  }
  Delta delta = ReadDelta(request.change);
  CheckDeltaBase(delta, source, request.revert);
  if (request.revert) return {std::move(delta.revert), ""};
  return {std::move(delta.apply), std::move(delta.plan_json)};
}

Outcome WriteDeltaFile(const ApplyRequest& request, const Checkpoint& source,
                       const Change& change) {
  RequireWritablePlace(request.out);
  if (!request.out.ends_with(".safetensors")) {
    Fail("{}: a delta is a safetensors file; name it x.delta.safetensors", request.out);
  }
  if (!request.dry_run) WriteDelta(source, change.patches, change.plan_json, request.out);
  Json json;
  json["schema"] = "cacheready.delta-result/1";
  json["output"] = request.out;
  json["rows"] = change.patches.size();
  json["written"] = !request.dry_run;
  return {
      .json = WriteJson(json),
      .summary = fmt::format("{} {} with {} rows\n", request.dry_run ? "would write" : "written",
                             request.out, change.patches.size())};
}

}  // namespace

LinkMode ParseLinkMode(const std::string& name) {
  static const std::map<std::string, LinkMode> modes = {{"auto", LinkMode::kAuto},
                                                        {"reflink", LinkMode::kReflink},
                                                        {"hardlink", LinkMode::kHardlink},
                                                        {"copy", LinkMode::kCopy}};
  const auto found = modes.find(name);
  if (found == modes.end()) {
    Fail("--link is '{}', expected auto, reflink, hardlink or copy", name);
  }
  return found->second;
}

Json TellWritten(const WriteResult& result, const std::string& out, bool dry_run) {
  for (const std::string& warning : result.warnings) Warn(warning);
  for (const std::string& path : result.left_out) {
    Note(fmt::format("left out: {}", path));
  }
  Json json;
  json["schema"] = "cacheready.apply/1";
  json["output"] = out;
  json["written"] = !dry_run;
  json["resumed"] = result.resumed;
  json["bytes_total"] = result.bytes_total;
  json["bytes_copied"] = result.bytes_copied;
  json["files"] = Json::array();
  for (const WrittenFile& file : result.files) {
    Json entry;
    entry["path"] = file.path;
    entry["bytes"] = file.bytes;
    entry["method"] = file.method;
    entry["patched_bytes"] = file.patched_bytes;
    json["files"].push_back(std::move(entry));
  }
  json["left_out"] = result.left_out;
  json["warnings"] = result.warnings;
  return json;
}

std::string WrittenText(const WriteResult& result, const std::string& out, bool dry_run) {
  TextTable table({"file", "bytes", "patched", "how"});
  for (const WrittenFile& file : result.files) {
    table.AddRow({file.path, Grouped(static_cast<std::int64_t>(file.bytes)),
                  Grouped(static_cast<std::int64_t>(file.patched_bytes)), file.method});
  }
  return fmt::format("{}\n{} {}: {} in {} files, {} copied\n", table.Text(),
                     dry_run ? "would write" : "written", out, ByteText(result.bytes_total),
                     result.files.size(), ByteText(result.bytes_copied));
}

Outcome Apply(const ApplyRequest& request) {
  const Checkpoint source = Checkpoint::Open(ResolveSource(request.source));
  for (const std::string& warning : source.warnings()) Warn(warning);
  const Change change = ReadChange(request, source);
  if (request.delta) return WriteDeltaFile(request, source, change);
  const WriteOptions options{.link = ParseLinkMode(request.link),
                             .force = request.force,
                             .dry_run = request.dry_run,
                             .include_outside_index = request.include_outside_index,
                             .io = ChosenReadMode(),
                             .max_memory = ChosenMaxMemory()};
  const WriteResult result =
      WriteCheckpoint(source, change.patches, change.plan_json, request.out, options);
  return {.json = WriteJson(TellWritten(result, request.out, request.dry_run)),
          .summary = WrittenText(result, request.out, request.dry_run)};
}

}  // namespace cacheready
