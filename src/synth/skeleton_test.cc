// SPDX-License-Identifier: Apache-2.0
#include "synth/skeleton.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/error.h"
#include "synth/routed_blocks.h"
#include "synth/scratch_folder.h"

namespace cacheready {
namespace {

struct Published {
  std::string size;
  std::size_t tensors;
  std::uint64_t data_bytes;
};

// Tensor counts and data bytes as published for the FP8 uploads (397B: computed from its shapes).
TEST(Skeleton, HasTheTensorCountAndBytesOfThePublishedCheckpoints) {
  for (const Published& published :
       {Published{"35B-A3B", 64196, 37454799072}, Published{"122B-A10B", 76656, 127152313312},
        Published{"397B-A17B", 189042, 406125181280}}) {
    const std::vector<NewTensor> tensors = Qwen35MoeFp8Tensors(Qwen35MoeFp8Config(published.size));
    std::uint64_t bytes = 0;
    for (const NewTensor& tensor : tensors) bytes += StoredBytes(tensor);
    EXPECT_EQ(tensors.size(), published.tensors) << published.size;
    EXPECT_EQ(bytes, published.data_bytes) << published.size;
  }
}

TEST(Skeleton, OfTheReferenceConfigHasTheTensorsOfTheReference) {
  const Checkpoint reference = Checkpoint::Open(ReferenceFp8());
  const std::vector<NewTensor> tensors = Qwen35MoeFp8Tensors(reference.config());
  EXPECT_EQ(tensors.size(), reference.num_tensors());
  for (const NewTensor& tensor : tensors) {
    const TensorView* stored = reference.FindTensor(tensor.name);
    ASSERT_NE(stored, nullptr) << tensor.name;
    EXPECT_EQ(stored->dtype, tensor.dtype) << tensor.name;
    EXPECT_EQ(stored->shape, tensor.shape) << tensor.name;
  }
}

TEST(Skeleton, OpensAsACheckpointAndTakesAlmostNoDisk) {
  const ScratchFolder scratch;
  const Json config = Qwen35MoeFp8Config("35B-A3B");
  WriteSkeleton(config, {}, scratch / "out");
  const Checkpoint skeleton = Checkpoint::Open(scratch / "out");
  EXPECT_EQ(skeleton.num_tensors(), 64196u);
  EXPECT_EQ(skeleton.shards().size(), 9u);  // 37.45 GB in shards of 4 GiB
  EXPECT_TRUE(skeleton.warnings().empty());
  std::uint64_t size = 0, on_disk = 0;
  for (const Shard& shard : skeleton.shards()) {
    struct stat status {};
    ASSERT_EQ(stat(shard.path.c_str(), &status), 0);
    size += static_cast<std::uint64_t>(status.st_size);
    on_disk += static_cast<std::uint64_t>(status.st_blocks) * 512;
  }
  EXPECT_GT(size, 37454799072u);
  EXPECT_LT(on_disk, 64u << 20);                  // headers only
  EXPECT_EQ(RoutedBlocks(skeleton).size(), 41u);  // 40 layers and MTP
}

TEST(Skeleton, NamesTheKnownShapes) { EXPECT_THROW(Qwen35MoeFp8Config("7B"), Error); }

}  // namespace
}  // namespace cacheready
