// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/shard_index.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "checkpoint/plain_json.h"

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

void SortIfNeeded(std::vector<std::pair<std::string, std::string>>& entries) {
  if (!std::is_sorted(entries.begin(), entries.end())) std::sort(entries.begin(), entries.end());
}

// The index as everybody writes it: {"metadata": {"total_size": N}, "weight_map": {NAME: FILE}},
// and strings and numbers under other keys. It has 10^5 entries and is read event by event;
// whatever is different ends the reading, and ReadTree finds out whether it may be so.
class PlainIndexReader {
 public:
  // What was read, if it is such an index.
  bool Finish(ShardIndex& result) {
    if (!total_size_ || entries_.empty()) return false;
    SortIfNeeded(entries_);
    const auto same_name = [](const auto& a, const auto& b) { return a.first == b.first; };
    if (std::adjacent_find(entries_.begin(), entries_.end(), same_name) != entries_.end()) {
      return false;
    }
    result.file_of_tensor = std::move(entries_);
    result.total_size = total_size_;
    return true;
  }

  bool number_unsigned(std::uint64_t value) {
    if (at_ != At::kMetadata || key_ != "total_size") return IsUnknown();
    total_size_ = value;
    return true;
  }
  bool string(std::string& value) {
    if (at_ != At::kMap) return IsUnknown();
    entries_.emplace_back(std::move(key_), std::move(value));
    return true;
  }
  bool key(std::string& name) {
    key_ = std::move(name);
    if (at_ == At::kMap) return true;
    const std::pair path(at_, key_);
    const bool is_new = std::find(keys_.begin(), keys_.end(), path) == keys_.end();
    keys_.push_back(path);
    return is_new;
  }
  bool start_object(std::size_t) {
    if (at_ == At::kTop) {
      at_ = At::kRoot;
    } else if (at_ == At::kRoot && key_ == "metadata") {
      at_ = At::kMetadata;
    } else if (at_ == At::kRoot && key_ == "weight_map") {
      at_ = At::kMap;
    } else {
      return false;
    }
    return true;
  }
  bool end_object() {
    at_ = At::kRoot;
    return true;
  }
  bool start_array(std::size_t) { return false; }
  bool end_array() { return false; }

 private:
  enum class At { kTop, kRoot, kMetadata, kMap };

  // A value under a key that means nothing here?
  bool IsUnknown() const {
    if (at_ == At::kMetadata) return key_ != "total_size";
    return at_ == At::kRoot && key_ != "metadata" && key_ != "weight_map";
  }

  At at_ = At::kTop;
  std::string key_;
  std::vector<std::pair<At, std::string>> keys_;  // seen outside the map
  std::vector<std::pair<std::string, std::string>> entries_;
  std::optional<std::uint64_t> total_size_;
};

// Any index. Fails on what is none.
void ReadTree(std::string_view text, std::string_view what, ShardIndex& result) {
  const Json index = ParseJson(text, what);
  const Json& map = GetMember(index, "weight_map", what);
  if (!map.is_object())
    Fail("{}: 'weight_map' is of type {}, expected an object", what, map.type_name());
  if (map.empty()) Fail("{}: 'weight_map' names no tensor", what);
  ReadTotalSize(index, what, result);
  result.file_of_tensor.reserve(map.size());
  for (const auto& [tensor, file] : map.get_ref<const Json::object_t&>()) {
    if (!file.is_string()) {
      Fail("{}: 'weight_map' has for tensor '{}' a value of type {}, expected a file name", what,
           tensor, file.type_name());
    }
    result.file_of_tensor.emplace_back(tensor, file.get_ref<const std::string&>());
  }
  SortIfNeeded(result.file_of_tensor);
}

}  // namespace

ShardIndex ParseShardIndex(std::string_view text, std::string_view what) {
  if (text.starts_with("version https://git-lfs")) {
    Fail("{}: is a git-LFS pointer, not the index; run 'git lfs pull'", what);
  }
  ShardIndex result;
  PlainIndexReader plain;
  if (!PlainJson(text, plain).Read() || !plain.Finish(result)) ReadTree(text, what, result);

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
