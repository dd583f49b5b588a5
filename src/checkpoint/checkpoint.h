// An opened checkpoint: the folder, its shards, its tensors by name, its config.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/json.h"
#include "checkpoint/safetensors_header.h"
#include "io/image_reader.h"
#include "io/mapped_file.h"
#include "tensor/tensor_view.h"

namespace cacheready {

struct Shard {
  std::string file;            // name inside the folder, no path separators
  std::filesystem::path path;  // folder / file; may be a symlink (hub cache), read through it
  std::uint64_t size_bytes = 0;
  SafetensorsHeader header;
};

struct TensorPlace {
  std::size_t shard = 0;           // index into shards()
  std::uint64_t offset_bytes = 0;  // in the file
};

class Checkpoint {
 public:
  // Opens a folder that holds config.json and either model.safetensors.index.json or *.safetensors.
  // Reads headers, maps shards. Fails on anything docs/formats/safetensors.md forbids; notes
  // (not fails) a wrong total_size.
  static Checkpoint Open(const std::filesystem::path& folder);
  // Movable only: the tensors view the mappings and the names of the shards.
  Checkpoint(Checkpoint&&) = default;
  Checkpoint& operator=(Checkpoint&&) = default;

  const std::filesystem::path& folder() const { return folder_; }
  const Json& config() const { return config_; }
  // config() itself, or its nested text_config where there is one (also llm_config /
  // language_config).
  const Json& text_config() const;
  // Another JSON file of the folder, nullopt if it is not there. Fails if it is no JSON.
  std::optional<Json> FindJsonFile(std::string_view name) const;
  const std::vector<Shard>& shards() const { return shards_; }  // in file-name order
  const std::vector<std::string>& warnings() const {
    return warnings_;
  }  // e.g. total_size mismatch, weight files outside the index
  const std::vector<std::string>& outside_index() const {
    return outside_index_;
  }  // weight files no index names, relative paths

  std::size_t num_tensors() const { return tensors_.size(); }
  std::vector<std::string_view> TensorNames() const;          // sorted
  const TensorView* FindTensor(std::string_view name) const;  // thread-safe; Valid while this lives
  const TensorView& GetTensor(std::string_view name) const;   // Fails if absent
  TensorPlace GetPlace(std::string_view name) const;
  // Where a tensor of this checkpoint lies, for a reader that loads it. Valid while this lives.
  ImageRange RangeOf(const TensorView& tensor) const;

  // SHA-256 over (name, dtype, shape) of all tensors in name order: equal however the checkpoint is
  // sharded.
  std::string LayoutSha256() const;

 private:
  Checkpoint() = default;
  void OpenShards(const std::vector<std::string>& files);
  void CollectTensors();

  std::filesystem::path folder_;
  Json config_;
  std::vector<Shard> shards_;
  std::vector<std::string> warnings_;
  std::vector<std::string> outside_index_;
  using Entry = std::pair<TensorView, TensorPlace>;
  const Entry* FindEntry(std::string_view name) const;

  std::map<std::string, Entry, std::less<>> tensors_;
  // The same by hash, and what stands behind the last dots: a model of 10^5 tensors is described by
  // 10^6 look-ups, most of them for parts of formats that no tensor here has.
  std::unordered_map<std::string_view, const Entry*> by_name_;
  std::unordered_set<std::string_view> endings_;
  std::vector<MappedFile> mappings_;  // one per shard
};

// SRC as the user typed it: a folder, a hub-cache snapshot folder, a `models--org--name` cache
// folder, or `org/name` looked up in the hub cache (HF_HUB_CACHE, HF_HOME/hub,
// ~/.cache/huggingface/hub; refs/main or the only snapshot). Fails with what was looked at.
std::filesystem::path ResolveSource(const std::string& source);

}  // namespace cacheready
