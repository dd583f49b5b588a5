// For tests: a checkpoint of three small shards with everything that real ones have (an index, side
// files, a subfolder, links into a blob store, router copies outside the index), and plans for it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/json.h"
#include "base/random.h"
#include "checkpoint/checkpoint.h"
#include "records/plan.h"

namespace cacheready {

// A folder that is gone when the test ends.
class ScratchFolder {
 public:
  ScratchFolder() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::canonical(std::filesystem::temp_directory_path()) /
            (std::string("cacheready-") + test->test_suite_name() + "-" + test->name() + "-" +
             std::to_string(getpid()));
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline std::string ReadBytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void WriteBytes(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  EXPECT_TRUE(file) << path;
}

// All files below a folder, links followed, by relative path.
inline std::map<std::string, std::string> ReadTree(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  const auto follow = std::filesystem::directory_options::follow_directory_symlink;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder, follow)) {
    if (!entry.is_regular_file()) continue;
    files[entry.path().lexically_relative(folder).generic_string()] = ReadBytes(entry.path());
  }
  return files;
}

inline std::string TensorName(int layer, const std::string& name) {
  return "model.layers." + std::to_string(layer) + "." + name;
}

struct TinyTensor {
  std::string name;
  Dtype dtype;
  std::vector<std::int64_t> shape;
};

// Random bytes, the same for the same seed.
inline std::string SerializeTiny(const std::vector<TinyTensor>& tensors, std::uint64_t seed) {
  RandomStream random(seed);
  std::vector<std::vector<std::byte>> data;
  std::vector<NamedTensor> named;
  for (const TinyTensor& tensor : tensors) {
    std::int64_t elements = 1;
    for (const std::int64_t extent : tensor.shape) elements *= extent;
    std::vector<std::byte>& bytes =
        data.emplace_back(static_cast<std::size_t>(elements * DtypeBits(tensor.dtype) / 8));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.Below(256));
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    named.push_back({tensors[i].name, tensors[i].dtype, tensors[i].shape, data[i]});
  }
  const std::vector<std::byte> file = SerializeSafetensors(named);
  return {reinterpret_cast<const char*>(file.data()), file.size()};
}

// Gates of 8 experts and 16 columns in two layers, with score corrections of either shape. The
// second shard lies in a blob store beside the folder; an odd tensor leaves what follows it
// unaligned.
inline std::filesystem::path MakeTinyCheckpoint(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  const std::vector<std::vector<TinyTensor>> shards = {
      {{"model.embed_tokens.weight", Dtype::kBF16, {20, 16}},
       {TensorName(0, "odd"), Dtype::kU8, {3}},
       {TensorName(0, "mlp.gate.weight"), Dtype::kBF16, {8, 16}}},
      {{TensorName(0, "mlp.gate.e_score_correction_bias"), Dtype::kF32, {8}},
       {TensorName(1, "mlp.gate.weight"), Dtype::kBF16, {8, 16}},
       {TensorName(1, "mlp.moe_statics.e_score_correction_bias"), Dtype::kF32, {1, 8}},
       {TensorName(1, "mlp.gate.quantized"), Dtype::kF8E4M3, {8, 16}}},
      {{"lm_head.weight", Dtype::kBF16, {20, 16}}, {"model.norm.weight", Dtype::kF32, {16}}},
  };
  Json weight_map = Json::object();
  for (std::size_t s = 0; s < shards.size(); ++s) {
    const std::string file = "model-0000" + std::to_string(s + 1) + "-of-00003.safetensors";
    const std::string bytes = SerializeTiny(shards[s], s);
    for (const TinyTensor& tensor : shards[s]) weight_map[tensor.name] = file;
    if (s != 1) {
      WriteBytes(folder / file, bytes);
      continue;
    }
    const fs::path blob = folder.parent_path() / "blobs" / "b10b";
    WriteBytes(blob, bytes);
    fs::create_symlink(fs::path("..") / "blobs" / "b10b", folder / file);
  }
  Json index;
  index["metadata"] = Json::object();
  index["weight_map"] = weight_map;
  WriteBytes(folder / "model.safetensors.index.json", WriteJson(index));
  WriteBytes(folder / "config.json", "{\"model_type\": \"tiny\"}\n");
  WriteBytes(folder / "tokenizer.json", "{\"a\": 1}");
  WriteBytes(folder / "README.md", "# Tiny\r\nwith \t odd bytes \xC3\xA4\n");
  WriteBytes(folder / "empty.txt", "");
  WriteBytes(folder / ".gitattributes", "*.safetensors filter=lfs\n");
  WriteBytes(folder / "assets" / "deep" / "notes with spaces.txt", "kept\n");
  WriteBytes(folder / ".git" / "HEAD", "ref: refs/heads/main\n");
  WriteBytes(folder / "original" / "consolidated.safetensors", SerializeTiny(shards[0], 7));
  return folder;
}

// A group whose members all get the first member's row, in each tensor.
inline PlannedGroup MakeGroup(const Checkpoint& checkpoint, std::int64_t layer,
                              const std::vector<std::int32_t>& members,
                              const std::vector<std::string>& tensors) {
  PlannedGroup group;
  group.layer = layer;
  group.members = members;
  group.rule = "row of expert " + std::to_string(members.front());
  for (const std::string& name : tensors) {
    const TensorView& view = checkpoint.GetTensor(name);
    const std::size_t row_bytes = view.bytes.size() / static_cast<std::size_t>(view.NumRows());
    const auto row = [&](std::int32_t member) {
      return view.bytes.subspan(static_cast<std::size_t>(member) * row_bytes, row_bytes);
    };
    PlannedTensor tensor;
    tensor.tensor = name;
    tensor.dtype = view.dtype;
    tensor.row.assign(row(members.front()).begin(), row(members.front()).end());
    for (const std::int32_t member : members) {
      tensor.replaced_sha256.push_back(Sha256Hex(row(member)));
    }
    group.tensors.push_back(tensor);
  }
  return group;
}

inline Plan MakeTinyPlan(const Checkpoint& checkpoint) {
  Plan plan;
  plan.tool_version = "test";
  plan.family = "tiny";
  plan.profile = "bf16-tp1";
  plan.layout_sha256 = checkpoint.LayoutSha256();
  plan.groups.push_back(MakeGroup(
      checkpoint, 0, {1, 3, 6},
      {TensorName(0, "mlp.gate.weight"), TensorName(0, "mlp.gate.e_score_correction_bias")}));
  plan.groups.push_back(MakeGroup(checkpoint, 1, {0, 7},
                                  {TensorName(1, "mlp.gate.weight"),
                                   TensorName(1, "mlp.moe_statics.e_score_correction_bias")}));
  return plan;
}

// What the output must be, made without the writer: the source's files as strings, each planned row
// laid in; nothing from outside the index.
inline std::map<std::string, std::string> ExpectedTree(const std::filesystem::path& source,
                                                       const Plan& plan) {
  std::map<std::string, std::string> files = ReadTree(source);
  std::erase_if(files, [](const auto& file) {
    return file.first.starts_with(".git/") || file.first.starts_with("original/");
  });
  const Checkpoint checkpoint = Checkpoint::Open(source);
  for (const RowPatch& patch : RowPatches(plan)) {
    const TensorPlace place = checkpoint.GetPlace(patch.tensor);
    const std::size_t begin =
        place.offset_bytes + static_cast<std::size_t>(patch.row) * patch.bytes.size();
    files[checkpoint.shards()[place.shard].file].replace(
        begin, patch.bytes.size(), reinterpret_cast<const char*>(patch.bytes.data()),
        patch.bytes.size());
  }
  return files;
}

inline void WriteTree(const std::filesystem::path& folder,
                      const std::map<std::string, std::string>& files) {
  for (const auto& [path, bytes] : files) WriteBytes(folder / path, bytes);
}

inline std::filesystem::path ReferenceFp8() {
  return std::filesystem::path(CACHEREADY_SOURCE_DIR) / "models" / "reference-fp8";
}

// Ties two groups in every decoder layer's router of the reference model.
inline Plan MakeReferencePlan(const Checkpoint& checkpoint) {
  Plan plan;
  plan.layout_sha256 = checkpoint.LayoutSha256();
  for (int layer = 0; layer < 4; ++layer) {
    const std::string gate =
        "model.language_model.layers." + std::to_string(layer) + ".mlp.gate.weight";
    plan.groups.push_back(MakeGroup(checkpoint, layer, {0, 1, 2}, {gate}));
    plan.groups.push_back(MakeGroup(checkpoint, layer, {5, 31}, {gate}));
  }
  return plan;
}

}  // namespace cacheready
