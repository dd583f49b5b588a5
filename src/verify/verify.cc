// SPDX-License-Identifier: Apache-2.0
//
// Every file of OUT is compared with its source byte by byte; a byte may differ only inside a row
// that the plan names, and then the row must be the plan's. Equal bytes make all else equal: tensor
// names, dtypes, shapes, order and headers. So OUT is never parsed, and damage of any kind is a
// finding with a place rather than an error.
#include "verify/verify.h"

#include <algorithm>
#include <map>
#include <memory>
#include <semaphore>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "checkpoint/checkpoint.h"
#include "io/mapped_file.h"
#include "records/sealed_plan.h"
#include "verify/compare_files.h"
#include "verify/file_list.h"
#include "verify/planned_rows.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPlanFile = "cacheready-plan.json";

using FileList = std::map<std::string, ListedFile>;

// ---- the plan

// Compares OUT's plan with the given one, so that a change in it has a place.
void CompareToGivenPlan(const std::string& text, const std::string& given,
                        std::vector<Finding>& findings) {
  const std::string expected = SealPlan(given);
  const auto [at, unused] =
      std::mismatch(expected.begin(), expected.end(), text.begin(), text.end());
  if (at == expected.end() && text.size() == expected.size()) return;
  findings.push_back({kPlanFile, "", static_cast<std::uint64_t>(at - expected.begin()),
                      "the plan inside OUT is not the given plan"});
}

std::optional<Plan> ReadPlanOfOut(const fs::path& path, std::vector<Finding>& findings) {
  try {
    return PlanFromJson(CheckSealedPlan(ReadTextFile(path), kPlanFile), kPlanFile);
  } catch (const Error& error) {  // what is wrong with OUT is a verdict
    findings.push_back(
        {kPlanFile, "", 0, fmt::format("{} (where is told if the plan is given)", error.what())});
    return std::nullopt;
  }
}

std::optional<Plan> LoadPlan(const FileList& out_files, const VerifyOptions& options,
                             std::vector<Finding>& findings) {
  const auto in_out = out_files.find(kPlanFile);
  const bool carried = in_out != out_files.end() && in_out->second.regular;
  if (!options.plan) {
    return carried ? ReadPlanOfOut(in_out->second.path, findings) : std::nullopt;
  }
  const std::string given = ReadTextFile(*options.plan);
  const std::string what = options.plan->string();
  const Plan plan = PlanFromJson(ParseJson(given, what), what);
  if (carried) CompareToGivenPlan(ReadTextFile(in_out->second.path), given, findings);
  return plan;
}

// ---- the files

bool MayBeLeftOut(const Checkpoint& source, const std::string& path) {
  const auto& outside = source.outside_index();
  return path.starts_with(".git/") || path.starts_with(".cache/") ||
         std::find(outside.begin(), outside.end(), path) != outside.end();
}

// The files that both sides have; what only one side has becomes a finding.
std::vector<std::string> MatchFiles(const Checkpoint& source, const FileList& source_files,
                                    const FileList& out_files, Verification& verification) {
  std::vector<std::string> common;
  for (const auto& [path, file] : source_files) {
    if (path == kPlanFile) continue;  // tells how the source itself was made
    const auto at = out_files.find(path);
    if (at == out_files.end() && MayBeLeftOut(source, path)) {
      verification.left_out.push_back(path);
    } else if (at == out_files.end()) {
      verification.findings.push_back({path, "", 0, "is missing from OUT"});
    } else if (!at->second.regular || !file.regular) {
      verification.findings.push_back({path, "", 0, "is not a regular file"});
    } else {
      common.push_back(path);
    }
  }
  for (const auto& [path, file] : out_files) {
    if (path == kPlanFile && file.regular) continue;
    if (path == kPlanFile || !source_files.contains(path)) {
      verification.findings.push_back({path, "", 0, "is in OUT, but not in the source"});
    }
  }
  return common;
}

std::vector<FilePart> PartsOf(const Shard& shard) {
  std::vector<FilePart> parts = {{0, shard.header.data_begin, ""}};
  for (const TensorEntry& tensor : shard.header.tensors) {
    parts.push_back({shard.header.data_begin + tensor.begin, shard.header.data_begin + tensor.end,
                     tensor.name});
  }
  return parts;
}

// One file of both sides: what it is made of, which rows of it are planned, how it compared.
struct FileCheck {
  std::string path;
  std::vector<FilePart> parts;
  std::vector<ByteRange> allowed;
  std::vector<std::string> tensor_of_range;
  FileComparison comparison;
};

std::vector<FileCheck> PrepareChecks(const Checkpoint& source,
                                     const std::vector<std::string>& paths,
                                     const std::vector<PlannedRow>& rows) {
  std::vector<FileCheck> checks;
  for (const std::string& path : paths) {
    FileCheck& check = checks.emplace_back();
    check.path = path;
    for (std::size_t s = 0; s < source.shards().size(); ++s) {
      if (source.shards()[s].file != path) continue;
      check.parts = PartsOf(source.shards()[s]);
      for (const PlannedRow& row : rows) {
        if (row.shard != s) continue;
        check.allowed.push_back(row.range);
        check.tensor_of_range.push_back(row.patch.tensor);
      }
    }
    if (check.parts.empty()) check.parts.push_back({0, UINT64_MAX, ""});
  }
  return checks;
}

// As many files at once as there are threads and memory for their blocks.
void CompareAll(std::vector<FileCheck>& checks, const fs::path& source, const fs::path& out,
                const VerifyOptions& options) {
  const std::uint64_t left = BytesLeft(options.max_memory, kComparisonBytes, "to compare files");
  std::counting_semaphore memory(static_cast<std::ptrdiff_t>(
      std::min<std::uint64_t>(left / kComparisonBytes, static_cast<std::uint64_t>(NumThreads()))));
  ParallelFor(static_cast<std::int64_t>(checks.size()), [&](std::int64_t i) {
    FileCheck& check = checks[static_cast<std::size_t>(i)];
    memory.acquire();
    const auto release = [](auto* taken) { taken->release(); };
    const std::unique_ptr<std::counting_semaphore<>, decltype(release)> held(&memory, release);
    check.comparison = CompareFiles(source / check.path, out / check.path, check.parts,
                                    check.allowed, options.hash, options.io);
  });
}

std::string DescribeDifference(const Difference& difference, const FilePart& part, bool is_shard,
                               bool has_plan) {
  const std::string where =
      !part.tensor.empty() ? "" : (is_shard ? " of the header" : " of the file");
  const std::string reason = part.tensor.empty() ? ""
                             : has_plan          ? "; no planned row covers this"
                                                 : "; there is no plan that would allow a change";
  return fmt::format("{} byte{}{} differ, the first is {:#04x}, expected {:#04x}{}",
                     difference.bytes, difference.bytes == 1 ? "" : "s", where,
                     std::to_integer<int>(difference.found),
                     std::to_integer<int>(difference.expected), reason);
}

void CollectResult(const FileCheck& check, bool has_plan, Verification& verification) {
  const FileComparison& comparison = check.comparison;
  const bool is_shard = check.parts.size() > 1 || check.parts[0].end != UINT64_MAX;
  std::set<std::string> changed_tensors;
  for (const Difference& difference : comparison.differences) {
    const FilePart& part = check.parts[difference.part];
    verification.findings.push_back({check.path, part.tensor, difference.first_offset,
                                     DescribeDifference(difference, part, is_shard, has_plan)});
    if (!part.tensor.empty()) changed_tensors.insert(part.tensor);
  }
  if (comparison.source_bytes != comparison.out_bytes) {
    verification.findings.push_back(
        {check.path, "", std::min(comparison.source_bytes, comparison.out_bytes),
         fmt::format("has {} bytes, expected {}", comparison.out_bytes, comparison.source_bytes)});
  }
  for (std::size_t r = 0; r < check.allowed.size(); ++r) {
    if (comparison.same_inode || !comparison.range_changed[r]) continue;
    ++verification.rows_changed;
    changed_tensors.insert(check.tensor_of_range[r]);
  }
  verification.tensors_changed += static_cast<std::int64_t>(changed_tensors.size());
  verification.bytes_compared += comparison.compared_bytes;
  verification.bytes_changed += comparison.changed_bytes;
  verification.files.push_back({check.path, comparison.sha256_source, comparison.sha256_out,
                                comparison.source_bytes, comparison.changed_bytes,
                                comparison.same_inode});
}

void KeepFirstFindings(std::int64_t max_findings, Verification& verification) {
  auto& findings = verification.findings;
  std::stable_sort(findings.begin(), findings.end(), [](const Finding& a, const Finding& b) {
    return std::tie(a.file, a.offset_bytes) < std::tie(b.file, b.offset_bytes);
  });
  verification.findings_total = static_cast<std::int64_t>(findings.size());
  verification.passed = findings.empty();
  const auto kept = static_cast<std::size_t>(std::max<std::int64_t>(max_findings, 0));
  if (findings.size() > kept) findings.resize(kept);
}

// File names are bytes; JSON is UTF-8.
std::string Utf8(const std::string& name) {
  return ParseJson(Json(name).dump(-1, ' ', false, Json::error_handler_t::replace), "a name")
      .get<std::string>();
}

}  // namespace

Verification VerifyCheckpoint(const fs::path& source_folder, const fs::path& out,
                              const VerifyOptions& options) {
  const Checkpoint source = Checkpoint::Open(source_folder);
  if (!fs::is_directory(out)) Fail("{}: no such folder", out.string());
  const FileList out_files = ListFiles(out);

  Verification verification;
  const std::optional<Plan> plan = LoadPlan(out_files, options, verification.findings);
  verification.checked_against_plan = plan.has_value();
  std::vector<PlannedRow> rows;
  if (plan) rows = LocatePlannedRows(source, *plan, verification.findings);

  const std::vector<std::string> paths =
      MatchFiles(source, ListFiles(source_folder), out_files, verification);
  std::vector<FileCheck> checks = PrepareChecks(source, paths, rows);
  CompareAll(checks, source_folder, out, options);
  for (const FileCheck& check : checks) CollectResult(check, plan.has_value(), verification);

  verification.tensors = static_cast<std::int64_t>(source.num_tensors());
  if (plan) {
    verification.groups_identical =
        CheckPlannedRows(source, *plan, rows, out, verification.findings);
  }
  KeepFirstFindings(options.max_findings, verification);
  return verification;
}

Json ToJson(const Verification& verification) {
  Json json;
  json["schema"] = "cacheready.verification/1";
  json["passed"] = verification.passed;
  json["checked_against_plan"] = verification.checked_against_plan;
  json["tensors"] = verification.tensors;
  json["tensors_changed"] = verification.tensors_changed;
  json["rows_changed"] = verification.rows_changed;
  json["groups_identical"] = verification.groups_identical;
  json["bytes_compared"] = verification.bytes_compared;
  json["bytes_changed"] = verification.bytes_changed;
  json["findings_total"] = verification.findings_total;
  json["findings"] = Json::array();
  for (const Finding& finding : verification.findings) {
    json["findings"].push_back(Json{{"file", Utf8(finding.file)},
                                    {"tensor", finding.tensor},
                                    {"offset_bytes", finding.offset_bytes},
                                    {"message", Utf8(finding.message)}});
  }
  json["files"] = Json::array();
  for (const VerifiedFile& file : verification.files) {
    json["files"].push_back(Json{{"path", Utf8(file.path)},
                                 {"bytes", file.bytes},
                                 {"changed_bytes", file.changed_bytes},
                                 {"same_inode", file.same_inode},
                                 {"sha256_source", file.sha256_source},
                                 {"sha256_out", file.sha256_out}});
  }
  json["left_out"] = Json::array();
  for (const std::string& path : verification.left_out) json["left_out"].push_back(Utf8(path));
  return json;
}

}  // namespace cacheready
