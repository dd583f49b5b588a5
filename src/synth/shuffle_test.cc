// SPDX-License-Identifier: Apache-2.0
#include "synth/shuffle.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "synth/scratch_folder.h"

namespace cacheready {
namespace {

TEST(Shuffle, KeepsEveryTensorAndMovesThemBetweenShards) {
  const ScratchFolder scratch;
  const Checkpoint source = Checkpoint::Open(ReferenceFp8());
  WriteShuffled(source, 7, 5, scratch / "out");
  const Checkpoint shuffled = Checkpoint::Open(scratch / "out");
  EXPECT_EQ(shuffled.shards().size(), 7u);
  EXPECT_EQ(shuffled.LayoutSha256(), source.LayoutSha256());
  std::size_t moved = 0;
  for (std::string_view name : source.TensorNames()) {
    EXPECT_EQ(BytesOf(shuffled, std::string(name)), BytesOf(source, std::string(name))) << name;
    moved += shuffled.GetPlace(name).shard != source.GetPlace(name).shard ? 1u : 0u;
  }
  EXPECT_GT(moved, source.num_tensors() / 2);
}

TEST(Shuffle, DependsOnTheSeedOnly) {
  const ScratchFolder scratch;
  const Checkpoint source = Checkpoint::Open(ReferenceFp8());
  WriteShuffled(source, 3, 5, scratch / "a");
  WriteShuffled(source, 3, 5, scratch / "b");
  WriteShuffled(source, 3, 6, scratch / "c");
  const auto index = [&](const std::string& folder) {
    return ReadTextFile(scratch / folder / "model.safetensors.index.json");
  };
  EXPECT_EQ(index("a"), index("b"));
  EXPECT_NE(index("a"), index("c"));
}

TEST(Shuffle, RefusesMoreShardsThanTensors) {
  const ScratchFolder scratch;
  EXPECT_THROW(WriteShuffled(Checkpoint::Open(ReferenceFp8()), 100000, 1, scratch / "out"), Error);
}

}  // namespace
}  // namespace cacheready
