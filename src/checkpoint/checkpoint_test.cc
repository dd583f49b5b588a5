// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <memory>

#include "base/error.h"
#include "base/hash.h"

namespace cacheready {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
namespace fs = std::filesystem;

const fs::path kModels = fs::path(CACHEREADY_SOURCE_DIR) / "models";

// A checkpoint's folder of our own making: U8 tensors of two elements.
class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() {
    folder_ = fs::path(testing::TempDir()) /
              testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    Write("config.json", R"({"model_type": "made_up"})");
  }
  ~CheckpointTest() override { fs::remove_all(folder_); }

  void Write(const std::string& file, std::string_view text) {
    fs::create_directories((folder_ / file).parent_path());
    std::ofstream(folder_ / file, std::ios::binary) << text;
  }

  // Tensor i of `names` holds the bytes {first + i, first + i}.
  void WriteShard(const std::string& file, const std::vector<std::string>& names,
                  std::uint8_t first = 1) {
    std::vector<std::vector<std::byte>> data;
    std::vector<NamedTensor> tensors;
    for (const std::string& name : names) {
      data.emplace_back(2, static_cast<std::byte>(first++));
      tensors.push_back({name, Dtype::kU8, {2}, data.back()});
    }
    const std::vector<std::byte> bytes = SerializeSafetensors(tensors);
    Write(file, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }

  void WriteIndex(const std::vector<std::pair<std::string, std::string>>& map,
                  std::uint64_t total_size) {
    Json index;
    index["metadata"]["total_size"] = total_size;
    for (const auto& [tensor, file] : map) index["weight_map"][tensor] = file;
    Write("model.safetensors.index.json", WriteJson(index));
  }

  Checkpoint Open() const { return Checkpoint::Open(folder_); }

  std::string ErrorOf() const {
    try {
      Open();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  fs::path folder_;
};

TEST(ReferenceCheckpoint, IsReadWhole) {
  const Checkpoint checkpoint = Checkpoint::Open(kModels / "reference-fp8");
  EXPECT_THAT(checkpoint.warnings(), IsEmpty());
  EXPECT_THAT(checkpoint.outside_index(), IsEmpty());
  ASSERT_EQ(checkpoint.shards().size(), 4u);
  EXPECT_EQ(checkpoint.shards()[0].file, "model.safetensors-00001-of-00004.safetensors");
  EXPECT_EQ(checkpoint.config().at("architectures").at(0), "Qwen3_5MoeForConditionalGeneration");
  EXPECT_EQ(checkpoint.text_config().at("num_experts"), 32);

  const TensorView& gate = checkpoint.GetTensor("model.language_model.layers.0.mlp.gate.weight");
  EXPECT_EQ(gate.dtype, Dtype::kBF16);
  EXPECT_THAT(gate.shape, ElementsAre(32, 256));
  EXPECT_EQ(gate.bytes.size(), 32u * 256 * 2);

  // The same bytes by the place in the file.
  const TensorPlace place = checkpoint.GetPlace(gate.name);
  const MappedFile file(checkpoint.shards()[place.shard].path);
  EXPECT_TRUE(
      std::ranges::equal(file.bytes().subspan(place.offset_bytes, gate.bytes.size()), gate.bytes));
}

TEST(ReferenceCheckpoint, HasEachTensorOfItsIndexOnce) {
  const Checkpoint checkpoint = Checkpoint::Open(kModels / "upcycled-fp8");
  const Json index =
      ParseJson(ReadTextFile(kModels / "upcycled-fp8" / "model.safetensors.index.json"), "index");
  EXPECT_EQ(checkpoint.num_tensors(), index.at("weight_map").size());
  std::uint64_t bytes = 0;
  for (const std::string_view name : checkpoint.TensorNames()) {
    const TensorView& tensor = checkpoint.GetTensor(name);
    bytes += tensor.bytes.size();
    EXPECT_EQ(index.at("weight_map").at(std::string(name)), tensor.file);
  }
  EXPECT_EQ(bytes, index.at("metadata").at("total_size"));
}

TEST_F(CheckpointTest, ReadsOneFileWithoutAnIndex) {
  WriteShard("model.safetensors", {"b", "a"});
  const Checkpoint checkpoint = Open();
  EXPECT_THAT(checkpoint.TensorNames(), ElementsAre("a", "b"));
  EXPECT_EQ(checkpoint.GetTensor("b").bytes[0], std::byte{1});
  EXPECT_EQ(checkpoint.GetTensor("a").bytes[1], std::byte{2});
  EXPECT_EQ(checkpoint.GetTensor("a").file, "model.safetensors");
  EXPECT_THAT(checkpoint.warnings(), IsEmpty());
}

TEST_F(CheckpointTest, TellsAbsentTensorsFromPresentOnes) {
  WriteShard("model.safetensors", {"a"});
  const Checkpoint checkpoint = Open();
  EXPECT_EQ(checkpoint.FindTensor("c"), nullptr);
  EXPECT_THROW(checkpoint.GetTensor("c"), Error);
  EXPECT_THROW(checkpoint.GetPlace("c"), Error);
}

TEST_F(CheckpointTest, KeepsItsTensorsWhenMoved) {
  WriteShard("m.safetensors", {"a"}, 9);  // a name short enough to be stored inside its string
  auto first = std::make_unique<Checkpoint>(Open());
  const Checkpoint second(std::move(*first));
  first.reset();
  EXPECT_EQ(second.GetTensor("a").bytes[0], std::byte{9});
  EXPECT_EQ(second.GetTensor("a").file, "m.safetensors");
}

TEST_F(CheckpointTest, ReadsSeveralFilesWithoutAnIndexWithAWarning) {
  WriteShard("x.safetensors", {"a"});
  WriteShard("y.safetensors", {"b"});
  const Checkpoint checkpoint = Open();
  EXPECT_THAT(checkpoint.TensorNames(), ElementsAre("a", "b"));
  EXPECT_THAT(checkpoint.warnings(), ElementsAre(HasSubstr("model.safetensors.index.json")));
}

TEST_F(CheckpointTest, RefusesATensorInTwoFiles) {
  WriteShard("x.safetensors", {"a", "gate"});
  WriteShard("y.safetensors", {"gate"});
  EXPECT_THAT(ErrorOf(), AllOf(HasSubstr("'gate' is in two files"), HasSubstr("x.safetensors"),
                               HasSubstr("y.safetensors")));
  WriteIndex({{"a", "x.safetensors"}, {"gate", "y.safetensors"}}, 6);
  EXPECT_THAT(ErrorOf(), HasSubstr("'gate' is in two files"));
}

TEST_F(CheckpointTest, RefusesAnIndexThatPlacesATensorWrongly) {
  WriteShard("x.safetensors", {"a"});
  WriteShard("y.safetensors", {"gate"});
  WriteIndex({{"a", "x.safetensors"}, {"gate", "x.safetensors"}}, 4);
  EXPECT_THAT(ErrorOf(), HasSubstr("'gate' is placed in 'x.safetensors', but no file has it"));
  WriteIndex({{"a", "y.safetensors"}, {"gate", "x.safetensors"}}, 4);
  EXPECT_THAT(ErrorOf(), AllOf(HasSubstr("'a' is placed in 'y.safetensors', but it is in 'x."),
                               HasSubstr("model.safetensors.index.json")));
}

TEST_F(CheckpointTest, RefusesAnIndexThatNamesAMissingFile) {
  WriteShard("x.safetensors", {"a"});
  WriteIndex({{"a", "x.safetensors"}, {"gate", "y.safetensors"}}, 4);
  EXPECT_THAT(ErrorOf(), AllOf(HasSubstr("'y.safetensors', which is not there"),
                               HasSubstr("model.safetensors.index.json")));
  fs::create_symlink("../../blobs/absent", folder_ / "y.safetensors");
  EXPECT_THAT(ErrorOf(), HasSubstr("symbolic link to nothing"));
}

TEST_F(CheckpointTest, IncludesTensorsThatTheIndexForgotWithAWarning) {
  WriteShard("x.safetensors", {"a", "b", "c"});
  WriteIndex({{"b", "x.safetensors"}}, 6);
  const Checkpoint checkpoint = Open();
  EXPECT_EQ(checkpoint.num_tensors(), 3u);
  EXPECT_THAT(checkpoint.warnings(),
              ElementsAre(AllOf(HasSubstr("2 tensors"), HasSubstr("the first is 'a'"))));
}

TEST_F(CheckpointTest, NotesATotalSizeThatCountsNeitherTensorsNorFiles) {
  WriteShard("x.safetensors", {"a", "b"});
  const std::uint64_t file_size = fs::file_size(folder_ / "x.safetensors");
  const auto warnings = [&](std::uint64_t total_size) {
    WriteIndex({{"a", "x.safetensors"}, {"b", "x.safetensors"}}, total_size);
    return Open().warnings();
  };
  EXPECT_THAT(warnings(4), IsEmpty());
  EXPECT_THAT(warnings(file_size), IsEmpty());
  EXPECT_THAT(warnings(5), ElementsAre(HasSubstr("total_size is 5, but the tensors have 4 bytes")));
}

TEST_F(CheckpointTest, ListsWeightFilesOutsideTheIndex) {
  WriteShard("x.safetensors", {"a"});
  WriteIndex({{"a", "x.safetensors"}}, 2);
  WriteShard("original/y.safetensors", {"a"});
  WriteShard("consolidated.safetensors", {"a"});
  Write("metal/model.bin", "weights");
  Write("pytorch_model.pt", "weights");
  Write("training_args.bin", "no weights");
  Write("tokenizer.json", "{}");
  WriteShard(".cache/z.safetensors", {"a"});
  const Checkpoint checkpoint = Open();
  EXPECT_THAT(checkpoint.outside_index(),
              ElementsAre("consolidated.safetensors", "metal/model.bin", "original/y.safetensors",
                          "pytorch_model.pt"));
  EXPECT_THAT(checkpoint.warnings(), ElementsAre(HasSubstr("original/y.safetensors")));
  EXPECT_EQ(checkpoint.num_tensors(), 1u);
}

TEST_F(CheckpointTest, PrefersTheIndexedAndTheHubLayoutToOtherCopies) {
  WriteShard("consolidated.safetensors", {"a"}, 7);
  EXPECT_EQ(Open().GetTensor("a").file, "consolidated.safetensors");
  WriteShard("other.safetensors", {"a"}, 7);
  EXPECT_EQ(Open().GetTensor("a").file, "other.safetensors");
  WriteShard("model.safetensors", {"a"}, 8);
  EXPECT_EQ(Open().GetTensor("a").file, "model.safetensors");
  EXPECT_THAT(Open().outside_index(), ElementsAre("consolidated.safetensors", "other.safetensors"));
  WriteIndex({{"a", "other.safetensors"}}, 2);
  EXPECT_EQ(Open().GetTensor("a").file, "other.safetensors");
}

TEST_F(CheckpointTest, ReadsASnapshotOfTheHubCacheThroughItsLinks) {
  WriteShard("blobs/0123", {"a"}, 5);
  const fs::path snapshot = folder_ / "snapshots" / "abc";
  fs::create_directories(snapshot);
  fs::create_symlink("../../blobs/0123", snapshot / "model.safetensors");
  fs::create_symlink("../../config.json", snapshot / "config.json");
  const Checkpoint checkpoint = Checkpoint::Open(snapshot);
  EXPECT_EQ(checkpoint.GetTensor("a").bytes[0], std::byte{5});
  EXPECT_EQ(checkpoint.shards()[0].path, snapshot / "model.safetensors");
}

TEST_F(CheckpointTest, ChoosesTheNestedTextConfig) {
  WriteShard("model.safetensors", {"a"});
  const auto text_config = [&](std::string_view config) {
    Write("config.json", config);
    return Open().text_config().value("k", 0);
  };
  EXPECT_EQ(text_config(R"({"k": 1})"), 1);
  EXPECT_EQ(text_config(R"({"k": 1, "text_config": {"k": 2}})"), 2);
  EXPECT_EQ(text_config(R"({"k": 1, "llm_config": {"k": 3}})"), 3);
  EXPECT_EQ(text_config(R"({"k": 1, "language_config": {"k": 4}})"), 4);
  EXPECT_EQ(text_config(R"({"k": 1, "text_config": {}})"), 1);
  EXPECT_EQ(text_config(R"({"k": 1, "text_config": null})"), 1);
}

TEST_F(CheckpointTest, RefusesAFolderThatIsNoCheckpoint) {
  EXPECT_THAT(ErrorOf(), HasSubstr("holds neither model.safetensors.index.json nor any"));
  WriteShard("model.safetensors", {"a"});
  Write("config.json", "[]");
  EXPECT_THAT(ErrorOf(), AllOf(HasSubstr("config.json"), HasSubstr("array, expected an object")));
  Write("config.json", R"({"a": 1, "a": 2})");
  EXPECT_THAT(ErrorOf(), AllOf(HasSubstr("config.json"), HasSubstr("duplicate key 'a'")));
  fs::remove(folder_ / "config.json");
  EXPECT_THAT(ErrorOf(), HasSubstr("has no config.json"));
  fs::remove_all(folder_);
  EXPECT_THAT(ErrorOf(), HasSubstr("no such folder"));
}

TEST_F(CheckpointTest, NamesTheShardThatIsBroken) {
  WriteShard("x.safetensors", {"a"});
  Write("y.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
  EXPECT_THAT(ErrorOf(),
              AllOf(HasSubstr("y.safetensors: is a git-LFS pointer"), HasSubstr(folder_.string())));
}

TEST_F(CheckpointTest, LayoutHashDependsOnNamesDtypesAndShapesOnly) {
  WriteShard("model.safetensors", {"a", "b"}, 1);
  const std::string one_file = Open().LayoutSha256();
  fs::remove(folder_ / "model.safetensors");
  WriteShard("x.safetensors", {"b"}, 50);
  WriteShard("y.safetensors", {"a"}, 60);
  EXPECT_EQ(Open().LayoutSha256(), one_file);
  WriteShard("y.safetensors", {"c"}, 60);
  EXPECT_NE(Open().LayoutSha256(), one_file);

  // The definition, for one tensor 'a' U8 [2]: lengths and numbers as 64-bit little-endian words.
  fs::remove(folder_ / "x.safetensors");
  WriteShard("y.safetensors", {"a"});
  using namespace std::string_view_literals;
  EXPECT_EQ(Open().LayoutSha256(), Sha256Hex("\1\0\0\0\0\0\0\0"
                                             "a"
                                             "\2\0\0\0\0\0\0\0"
                                             "U8"
                                             "\1\0\0\0\0\0\0\0"
                                             "\2\0\0\0\0\0\0\0"sv));
}

}  // namespace
}  // namespace cacheready
