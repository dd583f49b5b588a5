// SPDX-License-Identifier: Apache-2.0
#include "controls/controls.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

#include "scan/scan_text.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = CACHEREADY_SOURCE_DIR;

// The scratch folder of this process.
struct ScratchRoot {
  fs::path path = fs::temp_directory_path() / ("cacheready-controls-" + std::to_string(getpid()));
  ScratchRoot() { fs::create_directories(path); }
  ~ScratchRoot() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

}  // namespace

fs::path ShippedModel(const std::string& name) { return kRoot / "models" / name; }
fs::path CalibrationFile() { return kRoot / "text" / "calibration.jsonl"; }
fs::path EvaluationFile() { return kRoot / "text" / "evaluation.jsonl"; }

fs::path Scratch(const std::string& name) {
  static const ScratchRoot root;
  return root.path / name;
}

ScannedModel::ScannedModel(const fs::path& checkpoint, const std::string& name,
                           const ScanChoices& choices)
    : source_(OpenSource(checkpoint.string())),
      name_(name),
      choices_(choices),
      folder_(Scratch(name + ".scan")) {
  ScanOptions options;
  options.profile = choices.profile;
  options.tokens = choices.tokens;
  options.document_tokens = choices.document_tokens;
  options.tolerance = choices.tolerance;
  header_ = RunScan(source_->checkpoint, *source_->model,
                    ReadText(*source_, {.path = CalibrationFile().string()}), options, folder_);
}

Plan ScannedModel::MakePlan(const PlanOptions& options) const {
  PlanOptions chosen = options;
  if (options.tolerance == 1.0) chosen.tolerance = choices_.tolerance;
  return cacheready::MakePlan(folder_, chosen);
}

ScanText ScannedModel::Text() const {
  return PrepareScanText(ReadText(*source_, {.path = CalibrationFile().string()}), choices_.tokens,
                         choices_.document_tokens, 0);
}

std::vector<Document> EvaluationDocuments(const Source& source, std::int64_t tokens,
                                          std::int64_t document_tokens) {
  return SampleDocuments(
      CutDocuments(ReadText(source, {.path = EvaluationFile().string()}), document_tokens), tokens,
      0);
}

std::vector<std::vector<std::int32_t>> GroupsOf(const Plan& plan, std::int64_t layer) {
  std::vector<std::vector<std::int32_t>> groups;
  for (const PlannedGroup& group : plan.groups) {
    if (group.layer == layer) groups.push_back(group.members);
  }
  return groups;
}

void ExpectDecoysRefused(const Plan& plan, const std::string& name) {
  const Json& decoys = GetMember(plan.controls, "decoys", "plan controls");
  const std::int64_t measured = GetInt(decoys, "measured", "decoys");
  const std::int64_t refused = GetInt(decoys, "refused", "decoys");
  EXPECT_GT(measured, 0) << name;
  EXPECT_EQ(refused, measured) << name;
  const Json& halves = GetMember(plan.controls, "split_half", "plan controls");
  const Json* agreement = FindMember(halves, "pair_agreement");  // null if neither found a group
  std::printf("%s: decoys refused %lld of %lld", name.c_str(), static_cast<long long>(refused),
              static_cast<long long>(measured));
  if (agreement != nullptr && agreement->is_number()) {
    std::printf(", groups of the two halves share %.3f of their pairs", agreement->get<double>());
  }
  std::printf("\n");
}

}  // namespace cacheready
