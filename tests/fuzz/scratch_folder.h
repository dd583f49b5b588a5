// For fuzzers of readers that take a path: a folder, removed at exit, whose files are written anew
// for every input.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>

#include "base/error.h"

namespace cacheready {

class FuzzFolder {
 public:
  FuzzFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "cacheready-fuzz-XXXXXX").string();
    CR_CHECK(mkdtemp(pattern.data()) != nullptr, "no temporary folder {}", pattern);
    folder_ = pattern;
  }
  ~FuzzFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  FuzzFolder(const FuzzFolder&) = delete;
  FuzzFolder& operator=(const FuzzFolder&) = delete;

  const std::filesystem::path& path() const { return folder_; }
  std::filesystem::path Write(const std::string& name, std::span<const std::uint8_t> bytes) const {
    std::ofstream file(folder_ / name, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    CR_CHECK(file.good(), "{} cannot be written", name);
    return folder_ / name;
  }

 private:
  std::filesystem::path folder_;
};

inline std::string_view AsText(std::span<const std::uint8_t> input) {
  return {reinterpret_cast<const char*>(input.data()), input.size()};
}

}  // namespace cacheready
