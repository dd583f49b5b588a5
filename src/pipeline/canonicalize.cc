// The main job, stage by stage. Read this file as the table of contents of the program.
//
// Everything a stage finds goes to the run folder before the next one starts, so a killed run is
// repeated by the same command and goes on: the scan at its layer, the writer at its file, and the
// check is taken over if nothing that it depends on has changed.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>

#include "base/console.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"
#include "cacheready/cacheready.h"
#include "io/publish.h"
#include "pipeline/apply_command.h"
#include "pipeline/check_command.h"
#include "pipeline/evaluate_command.h"
#include "pipeline/files.h"
#include "pipeline/plan_command.h"
#include "pipeline/reading.h"
#include "pipeline/report_command.h"
#include "pipeline/scan_command.h"
#include "pipeline/source.h"
#include "pipeline/text_table.h"
#include "pipeline/verify_command.h"
#include "records/plan.h"
#include "report/verdict.h"
#include "verify/compare_files.h"
#include "writer/file_tasks.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

ScanRequest ScanStage(const CanonicalizeRequest& request, const RunFolder& run) {
  return {.source = request.source,
          .calibration = request.calibration,
          .out = run.scan().string(),
          .profile = request.profile,
          .tokens = request.tokens,
          .document_tokens = request.document_tokens,
          .seed = request.seed,
          .tolerance = request.tolerance,
          .memory_bytes = request.memory_bytes,
          .fresh = request.fresh,
          .dry_run = request.dry_run,
          .numerics = request.numerics};
}

PlanRequest PlanStage(const CanonicalizeRequest& request, const RunFolder& run) {
  return {.scan = run.scan().string(),
          .out = {},
          .tolerance = request.tolerance,
          .budget = request.budget,
          .max_group = request.max_group,
          .seed = request.seed};
}

CheckRequest CheckStage(const CanonicalizeRequest& request) {
  return {.source = request.source,
          .plan = {},
          .text = request.evaluation.empty() ? request.calibration : request.evaluation,
          .out = {},
          .tokens = request.check_tokens,
          .seed = request.seed};
}

WriteOptions WriteStage(const CanonicalizeRequest& request) {
  return {.link = ParseLinkMode(request.link),
          .force = request.force,
          .io = ChosenReadMode(),
          .max_memory = ChosenMaxMemory()};
}

VerifyOptions VerifyStage(const RunFolder& run) {
  VerifyOptions options;
  options.plan = run.plan();
  options.io = ChosenReadMode();
  options.max_memory = ChosenMaxMemory();
  return options;
}

struct RunText {
  std::vector<Document> scan, unseen;
};

RunText ReadRunText(const Source& source, const CanonicalizeRequest& request) {
  std::vector<Document> calibration = ReadText(source, {.path = request.calibration});
  if (!request.evaluation.empty()) {
    return {std::move(calibration), ReadText(source, {.path = request.evaluation})};
  }
  SplitText split = HoldOut(std::move(calibration));
  if (split.held_out.empty() || split.scan.empty()) {
    Fail("{}: too few documents to hold some out for the check; give --evaluation FILE.jsonl",
         request.calibration);
  }
  return {std::move(split.scan), std::move(split.held_out)};
}

// What OUT must be for the write to succeed, and the memory that later stages need: asked before
// hours are spent.
void RefuseEarly(const Source& source, const CanonicalizeRequest& request) {
  WriteOptions options = WriteStage(request);
  options.dry_run = true;
  if (fs::exists(fs::path(request.out) / kPlanFile)) options.force = true;  // compared later
  WriteCheckpoint(source.checkpoint, {}, "", request.out, options);
  BytesLeft(ChosenMaxMemory(), kComparisonBytes, "to compare files");
  const Model* model = source.model.get();
  PlanReading({model}, ScanMemory(*model, ToOptions(ScanStage(request, {}))), request.memory_bytes);
  PlanReading({model}, EvaluationMemory(*model, request.check_tokens, kMostVariantsOfCheck));
  constexpr std::size_t kBaseProfileAndNew = 3;
  PlanReading({model, model},
              EvaluationMemory(*model, request.evaluation_tokens, kBaseProfileAndNew));
}

// The check of these documents, or the one that an earlier call of the same job left behind.
struct CheckedPlan {
  Plan plan;
  Json check;
};

std::string CheckKey(const Plan& scanned, const std::vector<Document>& documents,
                     std::uint64_t seed) {
  Sha256 hash;
  hash.Add(WriteJson(ToJson(scanned)));
  for (const Document& document : documents) hash.Add(document.sha256);
  hash.Add(fmt::format("seed {} version {}", seed, Version()));
  return Hex(hash.Finish());
}

CheckedPlan CheckOrReuse(const Source& source, const Plan& scanned,
                         const std::vector<Document>& documents, const RunFolder& run,
                         std::uint64_t seed) {
  const std::string key = CheckKey(scanned, documents, seed);
  const Json before = ReadJsonFileIfThere(run.check());
  if (FindMember(before, "key") != nullptr && GetString(before, "key", "check.json") == key &&
      fs::exists(run.plan())) {
    Note("check: done by an earlier call");
    return {ReadPlan(run.plan().string()), before};
  }
  const CheckResult result = CheckOnText(source, scanned, documents, seed);
  Note(CheckText(result));
  Json check = ToJson(result);
  check["key"] = key;
  WriteJsonFile(run.stability(), StabilityJson(result));
  WriteJsonFile(run.plan(), ToJson(result.plan));
  WriteJsonFile(run.check(), check);  // last: it says that the others are whole
  return {result.plan, check};
}

// True if OUT is there already, tidied up, and is what the plan makes of SRC.
bool IsWritten(const CanonicalizeRequest& request, const RunFolder& run) {
  if (request.force || !fs::exists(fs::path(request.out) / kPlanFile)) return false;
  if (IsWriteUnfinished(request.out)) return false;
  VerifyOptions options = VerifyStage(run);
  options.hash = false;
  return VerifyCheckpoint(ResolveSource(request.source), request.out, options).passed;
}

void WriteOut(const Source& source, const Plan& plan, const CanonicalizeRequest& request,
              const RunFolder& run) {
  if (IsWritten(request, run)) {
    Note(fmt::format("apply: {} is written already", request.out));
    return;
  }
  const WriteResult written =
      WriteCheckpoint(source.checkpoint, RowPatches(plan), WriteJson(ToJson(plan)), request.out,
                      WriteStage(request));
  TellWritten(written, request.out, false);
}

Verification VerifyOut(const CanonicalizeRequest& request, const RunFolder& run) {
  Verification verification =
      VerifyCheckpoint(ResolveSource(request.source), request.out, VerifyStage(run));
  WriteJsonFile(run.verification(), ToJson(verification));
  return verification;
}

// Quality is measured on text by which nothing was decided.
void EvaluateOut(const Source& source, const CanonicalizeRequest& request, const RunFolder& run,
                 std::vector<Document> unseen, const std::vector<Document>& checked) {
  std::set<std::int64_t> used;
  for (const Document& document : checked) used.insert(document.line);
  std::erase_if(unseen, [&](const Document& document) { return used.contains(document.line); });
  if (request.evaluation_tokens == 0 || unseen.empty()) {
    Note("eval: left out, no document is left for it");
    return;
  }
  const auto out = OpenSource(request.out);
  const EvaluateRequest evaluate{.source = request.source,
                                 .out = request.out,
                                 .text = {},
                                 .profile = request.profile,
                                 .tokens = request.evaluation_tokens,
                                 .seed = request.seed,
                                 .margin = request.margin};
  const std::int64_t cut = std::max<std::int64_t>(128, request.evaluation_tokens / 32);
  const Json evaluation =
      EvaluateOnText(source, out.get(), CutDocuments(std::move(unseen), cut), evaluate);
  WriteJsonFile(run.evaluation(), evaluation);
  Note(EvaluationText(evaluation));
}

void WriteRunJson(const CanonicalizeRequest& request, const RunFolder& run, bool written) {
  Json json;
  json["schema"] = "cacheready.run/1";
  json["command"] = request.command;
  json["source"] = request.source;
  json["output"] = request.out;
  json["seed"] = request.seed;
  json["written"] = written;
  WriteJsonFile(run.run(), json);
}

Outcome Conclude(const RunFolder& run, bool passed) {
  const Outcome report = Report({.run = run.folder.string(), .out = {}});
  std::string summary;
  for (const std::string& line : VerdictLines(ReadFindings(ReadRunFolder(run)))) {
    summary += PlainText(line) + "\n";
  }
  summary += "\nreport: " + run.report().string() + "\n";
  return {.passed = passed, .json = report.json, .summary = summary};
}

Outcome DryRun(const Source& source, const CanonicalizeRequest& request, const RunFolder& run) {
  const PlannedScan planned = EstimateScan(source, ScanStage(request, run));
  std::uint64_t file_bytes = 0;
  for (const Shard& shard : source.checkpoint.shards()) file_bytes += shard.size_bytes;
  Json json;
  json["schema"] = "cacheready.canonicalize-estimate/1";
  json["scan"] = ToJson(planned);
  json["passes"] = {{"scan", 1}, {"check", 3}, {"verify", 1}, {"eval", 1}};
  json["writes_bytes"] = file_bytes;
  return {.json = WriteJson(json),
          .summary = EstimateText(planned) +
                     fmt::format("then, only if something is to be tied: {} at {}, and up to five "
                                 "more passes over the checkpoint (check, verify, eval)\n",
                                 ByteText(file_bytes), request.out)};
}

void ForgetResults(const RunFolder& run) {
  for (const fs::path& file : {run.verification(), run.evaluation(), run.report(), run.summary()}) {
    fs::remove(file);
  }
}

}  // namespace

Outcome Canonicalize(const CanonicalizeRequest& request) {
  const RunFolder run{request.run.empty() ? request.out + ".run" : request.run};
  const auto source = OpenSource(request.source);
  RefuseEarly(*source, request);
  if (request.dry_run) return DryRun(*source, request, run);
  RunText text = ReadRunText(*source, request);
  MakeFolders(run.folder);
  ForgetResults(run);

  // What the experts do.
  Note(fmt::format("scan: {} layers", source->model->info().layers));
  ScanSource(*source, std::move(text.scan), ScanStage(request, run));

  // Which are interchangeable, and which of them are worth tying: from the records alone.
  const Plan scanned = PlanScan(PlanStage(request, run));
  WriteJsonFile(run.scanned_plan(), ToJson(scanned));
  Note(PlanText(scanned));

  // What the plan does to the whole model; groups that cost too much are dropped here.
  const std::vector<Document> checked = ChooseCheckText(text.unseen, scanned, CheckStage(request));
  Note(fmt::format("check: {} groups", scanned.groups.size()));
  const CheckedPlan chosen = CheckOrReuse(*source, scanned, checked, run, request.seed);

  // Nothing to tie: the checkpoint is left alone, and that is an answer.
  if (chosen.plan.groups.empty()) {
    WriteRunJson(request, run, false);
    return Conclude(run, true);
  }

  // The only stage that makes weights.
  WriteOut(*source, chosen.plan, request, run);
  WriteRunJson(request, run, true);

  // What was written, proven from its bytes and measured by running it.
  const Verification verification = VerifyOut(request, run);
  if (verification.passed) EvaluateOut(*source, request, run, std::move(text.unseen), checked);
  return Conclude(run, verification.passed);
}

}  // namespace cacheready
