// Making a checkpoint folder from scratch: shards, index, config, and the tokenizer files of
// another folder.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "tensor/dtype.h"

namespace cacheready {

// A tensor to be written. `bytes` is called once, when its shard is made, and returns exactly
// StoredBytes(*this) bytes; empty in a skeleton, whose data stays unwritten.
struct NewTensor {
  std::string name;
  Dtype dtype = Dtype::kBF16;
  std::vector<std::int64_t> shape;
  std::function<std::vector<std::byte>()> bytes;
};
using NewShard = std::vector<NewTensor>;  // tensors in file order

std::uint64_t StoredBytes(const NewTensor& tensor);

// Fills shards in the order given, each up to `shard_bytes` of data (a larger tensor gets a shard
// of its own); within a shard the order is that of the reference writer: dtype descending, then
// name.
std::vector<NewShard> AssignShards(std::vector<NewTensor> tensors, std::uint64_t shard_bytes);

// "model.safetensors-00001-of-00004.safetensors", as Qwen names them; `shard` counts from 0.
std::string ShardFileName(std::size_t shard, std::size_t shards);

// Writes config.json, the shards, the index, and copies of the companion files (Companions) of
// `companions_from` (may be empty: none) into the new or empty folder `out`. Shards are made one at
// a time.
void WriteNewCheckpoint(const std::filesystem::path& out, const Json& config,
                        std::span<const NewShard> shards,
                        const std::filesystem::path& companions_from);

// Writes the data of a shard into a file of full size, where they begin so many bytes into it.
using FillShard = std::function<void(const std::filesystem::path& file, std::uint64_t data_begin,
                                     const NewShard& shard)>;
// The same with real headers and sparse data: the files have their full size and use almost no
// disk; every weight reads as zero bytes, unless `fill` writes it.
void WriteSparseCheckpoint(const std::filesystem::path& out, const Json& config,
                           std::span<const NewShard> shards,
                           const std::filesystem::path& companions_from, const FillShard& fill);

// Files of a checkpoint folder beside config.json, shards and index (tokenizer, generation config,
// licence ...), by name; folders are left out.
std::vector<std::filesystem::path> Companions(const std::filesystem::path& folder);

// Makes `out` if absent. Fails if it exists and is not an empty folder.
void MakeEmptyFolder(const std::filesystem::path& out);

// A tensor of an open checkpoint as it is stored. Valid while the checkpoint lives.
NewTensor CopyOf(const TensorView& tensor);

}  // namespace cacheready
