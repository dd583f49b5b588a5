// Making one file of the output from its source: linked, cloned, or copied with rows laid in.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "writer/file_tasks.h"
#include "writer/writer.h"

namespace cacheready {

struct MadeFile {
  std::string method;                 // as in WrittenFile
  std::optional<std::uint64_t> xxh3;  // of the whole file, if its bytes passed through us
};

// Makes `target`, which must not exist, and syncs it. `on_bytes` is told how many bytes were copied
// since its last call. Fails if the source changed since the task was listed.
MadeFile MakeFile(const FileTask& task, const std::filesystem::path& target,
                  const WriteOptions& options, const std::function<void(std::uint64_t)>& on_bytes);

// XXH3 of a file's bytes, read in blocks.
std::uint64_t FileXxh3(const std::filesystem::path& path, ReadMode io);

}  // namespace cacheready
