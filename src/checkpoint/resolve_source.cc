// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "checkpoint/checkpoint.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

fs::path ExpandHome(const std::string& path) {
  if (path == "~" || path.starts_with("~/")) return Environment("HOME") + path.substr(1);
  return path;
}

// Where huggingface_hub keeps its cache, by the variables and in the order that it reads them.
fs::path HubCache() {
  if (const std::string cache = Environment("HF_HUB_CACHE"); !cache.empty()) {
    return ExpandHome(cache);
  }
  if (const std::string home = Environment("HF_HOME"); !home.empty()) {
    return ExpandHome(home) / "hub";
  }
  if (const std::string cache = Environment("XDG_CACHE_HOME"); !cache.empty()) {
    return ExpandHome(cache) / "huggingface" / "hub";
  }
  return ExpandHome("~") / ".cache" / "huggingface" / "hub";
}

bool IsRepositoryName(const std::string& source) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  const std::size_t slash = source.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == source.size()) return false;
  const std::string organization = source.substr(0, slash);
  const std::string name = source.substr(slash + 1);
  return std::all_of(organization.begin(), organization.end(), allowed) &&
         std::all_of(name.begin(), name.end(), allowed) && organization.front() != '.' &&
         name.front() != '.';
}

std::string Trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

// The snapshot that refs/main names, or the only one there is.
fs::path SnapshotOf(const fs::path& repository) {
  const fs::path main_ref = repository / "refs" / "main";
  const fs::path snapshots = repository / "snapshots";
  std::string commit;
  if (fs::is_regular_file(main_ref)) commit = Trimmed(ReadTextFile(main_ref, 4096));
  const bool plain_name =
      !commit.empty() && commit.front() != '.' && commit.find('/') == std::string::npos;
  if (plain_name && fs::is_directory(snapshots / commit)) return snapshots / commit;

  std::vector<fs::path> found;
  if (fs::is_directory(snapshots)) {
    for (const auto& entry : fs::directory_iterator(snapshots)) {
      if (entry.is_directory()) found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    Fail("{}: holds no snapshot; download the model again", repository.string());
  }
  std::string names;
  for (const fs::path& path : found) names += fmt::format(" {}", path.filename().string());
  Fail("{}: refs/main names no snapshot that is there, and there are {}:{}; give the folder of one",
       repository.string(), found.size(), names);
}

}  // namespace

fs::path ResolveSource(const std::string& source) {
  if (source.empty()) Fail("the source is empty, expected a folder or org/name");
  const fs::path path = ExpandHome(source);
  if (fs::is_directory(path)) {
    const bool cache_folder =
        !fs::exists(path / "config.json") && fs::is_directory(path / "snapshots");
    return cache_folder ? SnapshotOf(path) : path;
  }
  if (fs::exists(path)) Fail("{}: is a file, expected the checkpoint's folder", source);
  if (!IsRepositoryName(source)) Fail("{}: no such folder", source);

  const std::size_t slash = source.find('/');
  const fs::path repository =
      HubCache() / fmt::format("models--{}--{}", source.substr(0, slash), source.substr(slash + 1));
  if (!fs::is_directory(repository)) {
    Fail("{}: no such folder, and the hub cache has no {}; download it first, or set HF_HUB_CACHE",
         source, repository.string());
  }
  return SnapshotOf(repository);
}

}  // namespace cacheready
