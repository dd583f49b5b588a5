// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/shard_index.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"

namespace cacheready {
namespace {

// A name that stays inside the folder, whatever it is joined to.
void CheckFileName(const std::string& file, const std::string& tensor, std::string_view what) {
  const auto refuse = [&](std::string_view reason) {
    Fail("{}: tensor '{}' is placed in file '{}': {}", what, tensor, file, reason);
  };
  if (file.empty()) refuse("an empty name");
  if (file.find('/') != std::string::npos || file.find('\\') != std::string::npos) {
    refuse("expected a file name without a folder");
  }
  if (file.front() == '.') refuse("a name that starts with a dot");
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  if (std::any_of(file.begin(), file.end(), is_control)) refuse("a control character");
  if (!file.ends_with(".safetensors")) refuse("expected a .safetensors file");
}

void ReadTotalSize(const Json& index, std::string_view what, ShardIndex& result) {
  const Json* metadata = FindMember(index, "metadata");
  const Json* total = metadata == nullptr ? nullptr : FindMember(*metadata, "total_size");
  if (total == nullptr) {
    result.warnings.push_back(fmt::format("{}: metadata.total_size is missing", what));
  } else if (!total->is_number_unsigned()) {
    result.warnings.push_back(
        fmt::format("{}: metadata.total_size is no unsigned integer and was not compared", what));
  } else {
    result.total_size = total->get<std::uint64_t>();
  }
}

}  // namespace

ShardIndex ParseShardIndex(std::string_view text, std::string_view what) {
  if (text.starts_with("version https://git-lfs")) {
    Fail("{}: is a git-LFS pointer, not the index; run 'git lfs pull'", what);
  }
  const Json index = ParseJson(text, what);
  const Json& map = GetMember(index, "weight_map", what);
  if (!map.is_object())
    Fail("{}: 'weight_map' is of type {}, expected an object", what, map.type_name());
  if (map.empty()) Fail("{}: 'weight_map' names no tensor", what);

  ShardIndex result;
  ReadTotalSize(index, what, result);
  result.file_of_tensor.reserve(map.size());
  for (const auto& [tensor, file] : map.get_ref<const Json::object_t&>()) {
    if (!file.is_string()) {
      Fail("{}: 'weight_map' has for tensor '{}' a value of type {}, expected a file name", what,
           tensor, file.type_name());
    }
    result.file_of_tensor.emplace_back(tensor, file.get_ref<const std::string&>());
  }
  std::sort(result.file_of_tensor.begin(), result.file_of_tensor.end());

  // Few files, many tensors: each name is checked once.
  for (const auto& [tensor, file] : result.file_of_tensor) {
    const auto at = std::lower_bound(result.files.begin(), result.files.end(), file);
    if (at != result.files.end() && *at == file) continue;
    CheckFileName(file, tensor, what);
    result.files.insert(at, file);
  }
  return result;
}

}  // namespace cacheready
