// SPDX-License-Identifier: Apache-2.0
#include "synth/new_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "checkpoint/safetensors_header.h"
#include "io/mapped_file.h"
#include "io/publish.h"

namespace cacheready {
namespace {

constexpr std::string_view kIndexFile = "model.safetensors.index.json";

// Header length, header and padding to 8 bytes, as the reference writer lays them out.
std::string HeaderBytes(const NewShard& shard) {
  std::string json = R"({"__metadata__":{"format":"pt"})";
  std::uint64_t begin = 0;
  for (const NewTensor& tensor : shard) {
    const std::uint64_t end = begin + StoredBytes(tensor);
    json += fmt::format(R"(,{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                        Json(tensor.name).dump(), DtypeName(tensor.dtype),
                        fmt::join(tensor.shape, ","), begin, end);
    begin = end;
  }
  json += '}';
  json.append((8 - json.size() % 8) % 8, ' ');
  std::string bytes;
  for (int byte = 0; byte < 8; ++byte) {
    bytes += static_cast<char>((json.size() >> (8 * byte)) & 0xFF);
  }
  return bytes + json;
}

std::uint64_t DataBytes(const NewShard& shard) {
  std::uint64_t total = 0;
  for (const NewTensor& tensor : shard) total += StoredBytes(tensor);
  return total;
}

// Written by hand: an ordered JSON object searches all its keys at each insertion, which is
// quadratic in the 10^5 names of a large checkpoint.
std::string IndexText(std::span<const NewShard> shards) {
  std::map<std::string_view, std::size_t> shard_of;
  std::uint64_t total = 0;
  for (std::size_t s = 0; s < shards.size(); ++s) {
    total += DataBytes(shards[s]);
    for (const NewTensor& tensor : shards[s]) {
      const bool is_new = shard_of.emplace(tensor.name, s).second;
      CR_CHECK(is_new, "tensor '{}' is written twice", tensor.name);
    }
  }
  std::string text = fmt::format(
      "{{\n  \"metadata\": {{\n    \"total_size\": {}\n  }},\n  \"weight_map\": {{", total);
  const char* separator = "\n";
  for (const auto& [name, shard] : shard_of) {
    text += fmt::format("{}    {}: \"{}\"", separator, Json(name).dump(),
                        ShardFileName(shard, shards.size()));
    separator = ",\n";
  }
  return text + "\n  }\n}\n";
}

void WriteFullShard(const std::filesystem::path& path, const NewShard& shard) {
  std::vector<std::vector<std::byte>> data;
  std::vector<NamedTensor> named;
  data.reserve(shard.size());
  for (const NewTensor& tensor : shard) {
    data.push_back(tensor.bytes());
    CR_CHECK(data.back().size() == StoredBytes(tensor), "tensor '{}' has {} bytes, expected {}",
             tensor.name, data.back().size(), StoredBytes(tensor));
    named.push_back({tensor.name, tensor.dtype, tensor.shape, data.back()});
  }
  const std::vector<std::pair<std::string, std::string>> metadata = {{"format", "pt"}};
  PublishFile(path, SerializeSafetensors(named, metadata));
}

void WriteSparseShard(const std::filesystem::path& path, const NewShard& shard,
                      const FillShard& fill) {
  const std::string header = HeaderBytes(shard);
  PublishFile(path, header);
  std::error_code error;
  std::filesystem::resize_file(path, header.size() + DataBytes(shard), error);
  if (error) Fail("{}: cannot be extended to its size: {}", path.string(), error.message());
  if (fill) fill(path, header.size(), shard);
}

template <typename WriteShard>
void WriteFolder(const std::filesystem::path& out, const Json& config,
                 std::span<const NewShard> shards, const std::filesystem::path& companions_from,
                 const WriteShard& write_shard) {
  MakeEmptyFolder(out);
  for (const std::filesystem::path& file : Companions(companions_from)) {
    PublishFile(out / file.filename(), MappedFile(file).bytes());
  }
  for (std::size_t s = 0; s < shards.size(); ++s) {
    write_shard(out / ShardFileName(s, shards.size()), shards[s]);
  }
  PublishFile(out / kIndexFile, IndexText(shards));
  // Last: without config.json an interrupted folder is not taken for a checkpoint.
  PublishFile(out / "config.json", WriteJson(config));
}

}  // namespace

std::uint64_t StoredBytes(const NewTensor& tensor) {
  std::uint64_t elements = 1;
  for (std::int64_t extent : tensor.shape) elements *= static_cast<std::uint64_t>(extent);
  return elements * static_cast<std::uint64_t>(DtypeBits(tensor.dtype)) / 8;
}

std::vector<NewShard> AssignShards(std::vector<NewTensor> tensors, std::uint64_t shard_bytes) {
  std::vector<NewShard> shards;
  std::uint64_t used = 0;
  for (NewTensor& tensor : tensors) {
    const std::uint64_t bytes = StoredBytes(tensor);
    if (shards.empty() || used + bytes > shard_bytes) {
      shards.emplace_back();
      used = 0;
    }
    used += bytes;
    shards.back().push_back(std::move(tensor));
  }
  for (NewShard& shard : shards) {
    std::sort(shard.begin(), shard.end(), [](const NewTensor& a, const NewTensor& b) {
      return a.dtype != b.dtype ? a.dtype > b.dtype : a.name < b.name;
    });
  }
  return shards;
}

std::string ShardFileName(std::size_t shard, std::size_t shards) {
  return fmt::format("model.safetensors-{:05}-of-{:05}.safetensors", shard + 1, shards);
}

void WriteNewCheckpoint(const std::filesystem::path& out, const Json& config,
                        std::span<const NewShard> shards,
                        const std::filesystem::path& companions_from) {
  WriteFolder(out, config, shards, companions_from, WriteFullShard);
}

void WriteSparseCheckpoint(const std::filesystem::path& out, const Json& config,
                           std::span<const NewShard> shards,
                           const std::filesystem::path& companions_from, const FillShard& fill) {
  WriteFolder(out, config, shards, companions_from, [&](const auto& path, const NewShard& shard) {
    WriteSparseShard(path, shard, fill);
  });
}

std::vector<std::filesystem::path> Companions(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  if (folder.empty()) return files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::filesystem::path name = entry.path().filename();
    const bool is_weights = name.extension() == ".safetensors" || name == kIndexFile;
    if (entry.is_regular_file() && !is_weights && name != "config.json") {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

void MakeEmptyFolder(const std::filesystem::path& out) {
  MakeFolders(out);
  if (!std::filesystem::is_empty(out)) {
    Fail("{}: is not empty; a new checkpoint needs an empty folder", out.string());
  }
}

NewTensor CopyOf(const TensorView& tensor) {
  const std::span<const std::byte> bytes = tensor.bytes;
  return {tensor.name, tensor.dtype, tensor.shape,
          [bytes] { return std::vector<std::byte>(bytes.begin(), bytes.end()); }};
}

}  // namespace cacheready
