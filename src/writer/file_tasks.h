// What the output folder will hold: one task a file.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "writer/row_ranges.h"

namespace cacheready {

inline constexpr std::string_view kPlanFile = "cacheready-plan.json";

struct FileTask {
  std::string path;              // relative, with '/'
  std::filesystem::path source;  // empty: a new file with `contents`
  std::uint64_t bytes = 0;
  std::int64_t modified_ns = 0;  // of the source: it must not change while it is read
  std::uint64_t device = 0;
  std::span<const RowRange> rows;  // laid over the source's bytes
  std::string contents;

  bool is_new() const { return source.empty(); }
  std::uint64_t PatchedBytes() const;
};

struct FileTasks {
  std::vector<FileTask> files;        // ascending path
  std::vector<std::string> left_out;  // relative paths of files, or of folders with a final '/'
};

// Every file of the source folder, links followed, with the rows of its shard; and the plan as a
// new file, if plan_json is not empty. A plan that the source carries is never copied: it tells how
// the source was made. Left out unless asked for: weight files outside the index, and the top
// folders .git and .cache, which hold other copies of the weights and state about the original.
// Fails on a broken link, on anything but files and folders, and on a name that is not UTF-8.
FileTasks ListFileTasks(const Checkpoint& source, std::span<const std::vector<RowRange>> rows,
                        const std::string& plan_json, bool include_outside_index);

// Names the whole job: equal exactly if the same output would be made from the same source files.
std::string JobSha256(std::span<const FileTask> tasks);

}  // namespace cacheready
