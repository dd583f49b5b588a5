// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/shard_index.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "fuzz/targets.h"

namespace cacheready {

void FuzzShardIndex(std::span<const std::uint8_t> input) {
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  ShardIndex index;
  try {
    index = ParseShardIndex(text, "index");
  } catch (const Error&) {
    return;
  }
  CR_CHECK(!index.files.empty() && std::ranges::is_sorted(index.files), "files");
  CR_CHECK(std::ranges::is_sorted(index.file_of_tensor), "tensors");
  for (const auto& [tensor, file] : index.file_of_tensor) {
    CR_CHECK(std::ranges::binary_search(index.files, file), "a file that is not listed");
    const std::filesystem::path joined = std::filesystem::path("folder") / file;
    CR_CHECK(joined.lexically_normal().parent_path() == "folder", "'{}' leaves the folder", file);
  }
}

}  // namespace cacheready
