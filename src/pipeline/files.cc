// SPDX-License-Identifier: Apache-2.0
#include "pipeline/files.h"

#include "base/error.h"
#include "io/mapped_file.h"
#include "io/publish.h"

namespace cacheready {

void WriteJsonFile(const std::filesystem::path& path, const Json& json) {
  PublishFile(path, WriteJson(json));
}

Json ReadJsonFile(const std::filesystem::path& path) {
  return ParseJson(ReadTextFile(path), path.string());
}

Json ReadJsonFileIfThere(const std::filesystem::path& path) {
  return std::filesystem::exists(path) ? ReadJsonFile(path) : Json();
}

void RequireWritablePlace(const std::filesystem::path& out) {
  if (std::filesystem::is_directory(out)) {
    Fail("{}: is a folder; give the name of a file", out.string());
  }
  const std::filesystem::path parent = std::filesystem::absolute(out).parent_path();
  if (!std::filesystem::is_directory(parent)) {
    Fail("{}: its folder {} does not exist; make it first", out.string(), parent.string());
  }
}

}  // namespace cacheready
