// What the controls share: text, scans, plans and printed figures. Scratch folders are gone when
// the program ends.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "pipeline/source.h"
#include "planning/plan_maker.h"
#include "records/plan.h"
#include "records/scan_record.h"
#include "scan/scan.h"
#include "scan/scan_text.h"
#include "text/documents.h"

namespace cacheready {

std::filesystem::path ShippedModel(const std::string& name);  // "reference-fp8", "upcycled-fp8"
std::filesystem::path CalibrationFile();
std::filesystem::path EvaluationFile();
// A path of this process inside the temporary folder; nothing is there yet.
std::filesystem::path Scratch(const std::string& name);

struct ScanChoices {
  std::int64_t tokens = 8192;
  std::int64_t document_tokens = 256;
  double tolerance = 1;
  std::string profile = {};
};

// A checkpoint, its scan over the calibration text, and plans made of it.
class ScannedModel {
 public:
  ScannedModel(const std::filesystem::path& checkpoint, const std::string& name,
               const ScanChoices& choices = {});

  const Source& source() const { return *source_; }
  const ScanHeader& header() const { return header_; }
  const std::filesystem::path& folder() const { return folder_; }
  LayerRecord Layer(std::int64_t layer) const { return ReadLayerRecord(folder_, layer); }
  Plan MakePlan(const PlanOptions& options = {}) const;
  // The text of the scan again, to run the model on what the records are about.
  ScanText Text() const;

 private:
  std::unique_ptr<Source> source_;
  std::string name_;
  ScanChoices choices_;
  std::filesystem::path folder_;
  ScanHeader header_;
};

// Documents for checks, cut as `check` cuts them.
std::vector<Document> EvaluationDocuments(const Source& source, std::int64_t tokens,
                                          std::int64_t document_tokens);

// Members of the planned groups of one layer.
std::vector<std::vector<std::int32_t>> GroupsOf(const Plan& plan, std::int64_t layer);

// The controls that every plan carries: decoys are there and refused, all of them; what could be
// judged and how well the halves agree is printed.
void ExpectDecoysRefused(const Plan& plan, const std::string& name);

}  // namespace cacheready
