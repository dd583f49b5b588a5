// For tests: a folder that is gone when the test ends, and ways to look into checkpoints.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace cacheready {

class ScratchFolder {
 public:
  ScratchFolder() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    std::string name = test->name();
    std::replace(name.begin(), name.end(), '/', '-');  // of a test with parameters
    path_ = std::filesystem::temp_directory_path() /
            ("cacheready-synth-" + name + "-" + std::to_string(getpid()));
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline std::filesystem::path ReferenceFp8() {
  return std::filesystem::path(CACHEREADY_SOURCE_DIR) / "models" / "reference-fp8";
}

// A folder a family, made by transformers.
inline std::filesystem::path FamilyGoldens() {
  return std::filesystem::path(CACHEREADY_SOURCE_DIR) / "goldens" / "families";
}

inline std::vector<std::byte> BytesOf(const Checkpoint& checkpoint, const std::string& tensor) {
  const auto bytes = checkpoint.GetTensor(tensor).bytes;
  return {bytes.begin(), bytes.end()};
}

}  // namespace cacheready
