// The files of a folder as the verifier sees them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace cacheready {

struct ListedFile {
  std::filesystem::path path;
  bool regular = false;  // after following links
};

// Everything below `folder` that is not a folder, by relative path; links to files and folders are
// followed. Not shared with the writer: a file that the writer overlooks must be missed here.
std::map<std::string, ListedFile> ListFiles(const std::filesystem::path& folder);

}  // namespace cacheready
