// model.safetensors.index.json: which tensor is in which file. Reads text only, touches no disk.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cacheready {

struct ShardIndex {
  std::vector<std::pair<std::string, std::string>> file_of_tensor;  // sorted by tensor name
  std::vector<std::string> files;                                   // sorted, each once
  std::optional<std::uint64_t> total_size;  // advisory: tools disagree on what it counts
  std::vector<std::string> warnings;
};

// `what` names the index in messages. Fails on anything that is no JSON object with a `weight_map`
// from tensor names to plain `*.safetensors` file names of the same folder.
ShardIndex ParseShardIndex(std::string_view text, std::string_view what);

}  // namespace cacheready
