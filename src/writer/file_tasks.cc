// SPDX-License-Identifier: Apache-2.0
#include "writer/file_tasks.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

bool IsStateFolder(const std::string& path) { return path == ".git" || path == ".cache"; }

// Regular files below `folder`, as relative paths; links to files and folders are followed.
void CollectPaths(const fs::path& folder, bool include_state_folders,
                  std::vector<std::string>& paths, std::vector<std::string>& left_out) {
  const auto options = fs::directory_options::follow_directory_symlink;
  std::error_code error;
  fs::recursive_directory_iterator it(folder, options, error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    const std::string path = it->path().lexically_relative(folder).generic_string();
    const fs::file_status status = it->status(error);
    if (fs::is_directory(status)) {
      if (include_state_folders || !IsStateFolder(path)) continue;
      it.disable_recursion_pending();
      left_out.push_back(path + "/");
    } else if (fs::is_regular_file(status)) {
      paths.push_back(path);
    } else if (status.type() == fs::file_type::not_found) {
      Fail("{}: is a symbolic link to nothing; was the download interrupted?", it->path().string());
    } else {
      Fail("{}: is neither a file nor a folder; it cannot be carried along", it->path().string());
    }
  }
  if (error) Fail("{}: cannot be listed: {}", folder.string(), error.message());
}

// Names are written into journals and reports, which are UTF-8.
void CheckName(const std::string& path) {
  try {
    (void)Json(path).dump();
  } catch (const Json::exception&) {
    Fail("a file name is not UTF-8: {}; rename it", Hex(std::as_bytes(std::span(path))));
  }
}

FileTask MakeTask(const fs::path& folder, const std::string& path) {
  CheckName(path);
  FileTask task;
  task.path = path;
  task.source = folder / path;
  struct stat status {};
  if (stat(task.source.c_str(), &status) != 0) {
    Fail("{}: cannot be examined: {}", task.source.string(), std::strerror(errno));
  }
  task.bytes = static_cast<std::uint64_t>(status.st_size);
  task.modified_ns = status.st_mtim.tv_sec * std::int64_t{1'000'000'000} + status.st_mtim.tv_nsec;
  task.device = status.st_dev;
  return task;
}

void AddField(Sha256& sha, std::string_view text) {
  sha.Add(fmt::format("{}:", text.size()));
  sha.Add(text);
}

}  // namespace

std::uint64_t FileTask::PatchedBytes() const {
  std::uint64_t total = 0;
  for (const RowRange& row : rows) total += row.bytes.size();
  return total;
}

FileTasks ListFileTasks(const Checkpoint& source, std::span<const std::vector<RowRange>> rows,
                        const std::string& plan_json, bool include_outside_index) {
  FileTasks tasks;
  std::vector<std::string> paths;
  CollectPaths(source.folder(), include_outside_index, paths, tasks.left_out);
  std::set<std::string> outside;
  if (!include_outside_index) {
    outside.insert(source.outside_index().begin(), source.outside_index().end());
  }
  for (const std::string& path : paths) {
    if (outside.contains(path) || path == kPlanFile) {
      if (path != kPlanFile || plan_json.empty()) tasks.left_out.push_back(path);
      continue;
    }
    tasks.files.push_back(MakeTask(source.folder(), path));
    for (std::size_t s = 0; s < rows.size(); ++s) {
      if (source.shards()[s].file == path) tasks.files.back().rows = rows[s];
    }
  }
  if (!plan_json.empty()) {
    FileTask plan;
    plan.path = kPlanFile;
    plan.bytes = plan_json.size();
    plan.contents = plan_json;
    tasks.files.push_back(std::move(plan));
  }
  std::sort(tasks.files.begin(), tasks.files.end(),
            [](const FileTask& a, const FileTask& b) { return a.path < b.path; });
  std::sort(tasks.left_out.begin(), tasks.left_out.end());
  return tasks;
}

std::string JobSha256(std::span<const FileTask> tasks) {
  Sha256 sha;
  for (const FileTask& task : tasks) {
    AddField(sha, task.path);
    AddField(sha, fmt::format("{} {} {}", task.bytes, task.modified_ns, task.rows.size()));
    AddField(sha, task.contents);
    for (const RowRange& row : task.rows) {
      AddField(sha, fmt::format("{} {}", row.offset_bytes, row.bytes.size()));
      sha.Add(row.bytes);
    }
  }
  return Hex(sha.Finish());
}

}  // namespace cacheready
