// SPDX-License-Identifier: Apache-2.0
#include "verify/file_list.h"

#include "base/error.h"

namespace cacheready {

namespace fs = std::filesystem;

std::map<std::string, ListedFile> ListFiles(const fs::path& folder) {
  std::map<std::string, ListedFile> files;
  std::error_code error;
  fs::recursive_directory_iterator it(folder, fs::directory_options::follow_directory_symlink,
                                      error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    std::error_code unreadable;
    const fs::file_status status = it->status(unreadable);
    if (fs::is_directory(status)) continue;
    files[it->path().lexically_relative(folder).generic_string()] = {it->path(),
                                                                     fs::is_regular_file(status)};
  }
  if (error) Fail("{}: cannot be listed: {}", folder.string(), error.message());
  return files;
}

}  // namespace cacheready
