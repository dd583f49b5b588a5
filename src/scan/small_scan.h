// For tests: scans of a shipped checkpoint on a little text.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "io/mapped_file.h"
#include "model/model.h"
#include "text/documents.h"

namespace cacheready {

inline std::filesystem::path ShippedModel(const std::string& name) {
  return std::filesystem::path(CACHEREADY_SOURCE_DIR) / "models" / name;
}

struct OpenedModel {
  explicit OpenedModel(const std::string& name)
      : checkpoint(Checkpoint::Open(ShippedModel(name))), model(DescribeModel(checkpoint)) {}
  Checkpoint checkpoint;
  std::unique_ptr<Model> model;
};

// Tokenized for any of the shipped models: they share a tokenizer.
inline const std::vector<Document>& CalibrationDocuments() {
  static const std::vector<Document> documents = [] {
    const std::filesystem::path json = ShippedModel("reference-fp8") / "tokenizer.json";
    const Tokenizer tokenizer = Tokenizer::Parse(ReadTextFile(json), json.string());
    const auto text = std::filesystem::path(CACHEREADY_SOURCE_DIR) / "text" / "calibration.jsonl";
    return ParseDocuments(ReadTextFile(text), text.string(), &tokenizer, 0, 1);
  }();
  return documents;
}

// Contents by name.
inline std::map<std::string, std::string> Files(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    files[entry.path().filename()] = ReadTextFile(entry.path());
  }
  return files;
}

// A test with a folder of its own, gone with it.
class ScanFolderTest : public testing::Test {
 protected:
  ScanFolderTest() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              (std::string(info->test_suite_name()) + "-" + info->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~ScanFolderTest() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
};

}  // namespace cacheready
