// The main job on the models that come with the program: one with nothing to find, one with planted
// copies, one whose experts descend from a common ancestor.
// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <memory>
#include <vector>

#include "base/console.h"
#include "base/error.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "cli/commands.h"
#include "io/publish.h"
#include "synth/planted.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

struct DemoRequest {
  std::string data, out = "cacheready-demo";
  std::int64_t tokens = 8192;
};

struct DemoCase {
  const char* name;
  const char* what;
  const char* expected;  // outcome of the report
  bool plant;            // copies in the reference model
  const char* model;
};
constexpr DemoCase kCases[] = {
    {"reference", "trained from scratch: no two experts alike", "nothing equivalent", false,
     "reference-fp8"},
    {"planted", "the same with 8 pairs of copies a layer, router rows 1 % apart", "groups", true,
     "reference-fp8"},
    {"upcycled", "experts copied from one dense layer, then trained 15 steps", "groups", false,
     "upcycled-fp8"},
};

// The folder with models/ and text/: the one given, or the nearest above the program itself.
fs::path DataFolder(const std::string& given) {
  if (!given.empty()) return given;
  for (fs::path folder = fs::read_symlink("/proc/self/exe").parent_path();;
       folder = folder.parent_path()) {
    if (fs::exists(folder / "models" / "reference-fp8" / "config.json")) return folder;
    if (folder == folder.parent_path()) break;
  }
  Fail(
      "demo: no folder above the program holds models/reference-fp8; give --data FOLDER, the "
      "checkout of this project");
}

struct DemoResult {
  const DemoCase* demo;
  Json report;
  fs::path report_file;
  bool passed = false;
};

DemoResult RunCase(const DemoCase& demo, const DemoRequest& request, const fs::path& data) {
  Note(fmt::format("\n== {}: {}", demo.name, demo.what));
  const fs::path folder = fs::path(request.out) / demo.name;
  MakeFolders(folder);
  fs::path source = data / "models" / demo.model;
  if (demo.plant) {
    fs::remove_all(folder / "source");
    WritePlanted(Checkpoint::Open(source), {}, folder / "source");
    source = folder / "source";
  }
  fs::remove_all(folder / "checkpoint");
  CanonicalizeRequest job;
  job.source = source.string();
  job.out = (folder / "checkpoint").string();
  job.run = (folder / "run").string();
  job.calibration = (data / "text" / "calibration.jsonl").string();
  job.evaluation = (data / "text" / "evaluation.jsonl").string();
  job.tokens = request.tokens;
  job.document_tokens = 256;
  job.fresh = true;
  job.command = fmt::format(
      "cacheready canonicalize {} -o {} --run {} -c {} --evaluation {} "
      "--tokens {} --document-tokens {}",
      job.source, job.out, job.run, job.calibration, job.evaluation, job.tokens,
      job.document_tokens);
  const Outcome outcome = Canonicalize(job);
  const Json report = ParseJson(outcome.json, "report.json");
  const bool expected = GetString(report, "outcome", "report.json") == demo.expected;
  return {&demo, report, folder / "run" / "report.md", outcome.passed && expected};
}

std::string CaseText(const DemoResult& result) {
  std::string text = fmt::format("## {}\n{}.\n\n", result.demo->name, result.demo->what);
  for (const Json& line : GetMember(result.report, "verdict", "report.json")) {
    text += "- " + line.get<std::string>() + "\n";
  }
  return text + fmt::format("\nFull report: {}\n\n", result.report_file.string());
}

Outcome RunDemo(const DemoRequest& request) {
  const fs::path data = DataFolder(request.data);
  Outcome outcome;
  Json json;
  json["schema"] = "cacheready.demo/1";
  json["cases"] = Json::array();
  std::string text = "# CacheReady on the models that come with it\n\n";
  for (const DemoCase& demo : kCases) {
    const DemoResult result = RunCase(demo, request, data);
    outcome.passed = outcome.passed && result.passed;
    text += CaseText(result);
    Json entry;
    entry["name"] = demo.name;
    entry["expected"] = demo.expected;
    entry["passed"] = result.passed;
    entry["report"] = result.report;
    json["cases"].push_back(std::move(entry));
  }
  const fs::path file = fs::path(request.out) / "demo.md";
  text += outcome.passed ? "All three came out as they must.\n"
                         : "**Not all came out as they must.**\n";
  PublishFile(file, text);
  outcome.json = WriteJson(json);
  outcome.summary = text + "\nThis summary: " + file.string() + "\n";
  return outcome;
}

}  // namespace

void AddDemo(CLI::App& app, Invocation& invocation) {
  auto request = std::make_shared<DemoRequest>();
  auto* command =
      app.add_subcommand("demo", "The main job on the models that come with the program");
  command->add_option("-o,--output", request->out, "folder for what is made");
  command->add_option("--data", request->data, "checkout with models/ and text/");
  command->add_option("--tokens", request->tokens, "calibration tokens")
      ->check(CLI::PositiveNumber);
  command->callback(
      [&invocation, request] { invocation.run = [request] { return RunDemo(*request); }; });
}

}  // namespace cacheready
