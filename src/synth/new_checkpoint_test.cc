// SPDX-License-Identifier: Apache-2.0
#include "synth/new_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "synth/scratch_folder.h"

namespace cacheready {
namespace {

NewTensor Filled(const std::string& name, Dtype dtype, std::vector<std::int64_t> shape,
                 std::byte value) {
  NewTensor tensor{name, dtype, std::move(shape), {}};
  const std::size_t size = StoredBytes(tensor);
  tensor.bytes = [size, value] { return std::vector<std::byte>(size, value); };
  return tensor;
}

TEST(NewCheckpoint, ReopensWithTheSameTensorsAndBytes) {
  const ScratchFolder scratch;
  const std::vector<NewShard> shards = {
      {Filled("b", Dtype::kF32, {2, 3}, std::byte{7}), Filled("a", Dtype::kU8, {5}, std::byte{1})},
      {Filled("quote\"d", Dtype::kBF16, {}, std::byte{2})}};
  WriteNewCheckpoint(scratch / "out", Json{{"model_type", "x"}}, shards, "");
  const Checkpoint checkpoint = Checkpoint::Open(scratch / "out");
  EXPECT_EQ(checkpoint.num_tensors(), 3u);
  EXPECT_EQ(checkpoint.config().at("model_type"), "x");
  EXPECT_EQ(checkpoint.GetTensor("b").shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(BytesOf(checkpoint, "b"), std::vector<std::byte>(24, std::byte{7}));
  EXPECT_EQ(BytesOf(checkpoint, "a"), std::vector<std::byte>(5, std::byte{1}));
  EXPECT_EQ(BytesOf(checkpoint, "quote\"d"), std::vector<std::byte>(2, std::byte{2}));
  EXPECT_THAT(checkpoint.warnings(), ::testing::IsEmpty());  // total_size is right
}

TEST(NewCheckpoint, RefusesAFolderThatIsNotEmpty) {
  const ScratchFolder scratch;
  WriteNewCheckpoint(scratch / "out", Json::object(), {}, "");
  EXPECT_THROW(WriteNewCheckpoint(scratch / "out", Json::object(), {}, ""), Error);
}

TEST(AssignShards, StartsANewShardWhenTheSizeWouldBeExceeded) {
  std::vector<NewTensor> tensors;
  for (const char* name : {"a", "b", "c", "d"}) {
    tensors.push_back({name, Dtype::kU8, {name[0] == 'c' ? 100 : 6}, {}});
  }
  const std::vector<NewShard> shards = AssignShards(tensors, 12);
  ASSERT_EQ(shards.size(), 3u);
  EXPECT_EQ(shards[0].size(), 2u);
  EXPECT_EQ(shards[1].at(0).name, "c");  // larger than a shard: alone
  EXPECT_EQ(shards[2].at(0).name, "d");
}

TEST(Companions, AreTheTokenizerFilesButNeitherWeightsNorConfig) {
  std::vector<std::string> names;
  for (const auto& path : Companions(ReferenceFp8())) names.push_back(path.filename().string());
  EXPECT_THAT(names, ::testing::ElementsAre("generation_config.json", "tokenizer.json",
                                            "tokenizer_config.json"));
}

}  // namespace
}  // namespace cacheready
