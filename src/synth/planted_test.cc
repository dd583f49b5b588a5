// SPDX-License-Identifier: Apache-2.0
#include "synth/planted.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/error.h"
#include "io/mapped_file.h"
#include "synth/fused_twin.h"
#include "synth/routed_blocks.h"
#include "synth/scratch_folder.h"

namespace cacheready {
namespace {

using ::testing::ElementsAre;

const char* const kLayer2 = "model.language_model.layers.2.mlp.";

// || row b - row a || / || row a || of a gate, from the stored values.
double RowDistance(const Checkpoint& checkpoint, const std::string& gate, std::int64_t a,
                   std::int64_t b) {
  const TensorView& tensor = checkpoint.GetTensor(gate);
  const std::vector<float> values = ReadFloats(tensor);
  const auto hidden = static_cast<std::size_t>(tensor.shape[1]);
  double difference = 0, norm = 0;
  for (std::size_t h = 0; h < hidden; ++h) {
    const double x = static_cast<double>(values[static_cast<std::size_t>(a) * hidden + h]);
    const double y = static_cast<double>(values[static_cast<std::size_t>(b) * hidden + h]);
    difference += (x - y) * (x - y);
    norm += x * x;
  }
  return std::sqrt(difference / norm);
}

std::string ExpertTensor(int expert, const std::string& leaf) {
  return std::string(kLayer2) + "experts." + std::to_string(expert) + "." + leaf;
}

TEST(Planted, CopiesCodesAndScalesOfEachPair) {
  const ScratchFolder scratch;
  const Checkpoint source = Checkpoint::Open(ReferenceFp8());
  WritePlanted(source, {}, scratch / "out");
  const Checkpoint planted = Checkpoint::Open(scratch / "out");
  for (const std::string projection : {"gate_proj", "up_proj", "down_proj"}) {
    for (const std::string leaf : {".weight", ".weight_scale_inv"}) {
      for (int pair = 0; pair < 8; ++pair) {
        const auto original = BytesOf(source, ExpertTensor(2 * pair, projection + leaf));
        EXPECT_EQ(BytesOf(planted, ExpertTensor(2 * pair, projection + leaf)), original);
        EXPECT_EQ(BytesOf(planted, ExpertTensor(2 * pair + 1, projection + leaf)), original);
      }
      const std::string untouched = ExpertTensor(17, projection + leaf);
      EXPECT_EQ(BytesOf(planted, untouched), BytesOf(source, untouched));
    }
  }
}

TEST(Planted, ChangesNothingButCopiesAndTheirRouterRows) {
  const ScratchFolder scratch;
  const Checkpoint source = Checkpoint::Open(ReferenceFp8());
  WritePlanted(source, {}, scratch / "out");
  const Checkpoint planted = Checkpoint::Open(scratch / "out");
  ASSERT_EQ(planted.shards().size(), source.shards().size());
  EXPECT_EQ(planted.LayoutSha256(), source.LayoutSha256());
  std::set<std::string> changed;
  for (std::string_view name : source.TensorNames()) {
    const std::string tensor(name);
    EXPECT_EQ(planted.GetPlace(name).offset_bytes, source.GetPlace(name).offset_bytes);
    EXPECT_EQ(planted.GetPlace(name).shard, source.GetPlace(name).shard);
    if (BytesOf(planted, tensor) != BytesOf(source, tensor)) changed.insert(tensor);
  }
  for (const std::string& tensor : changed) {
    const bool is_copy = tensor.find(".experts.") != std::string::npos;
    EXPECT_TRUE(is_copy || tensor.ends_with(".mlp.gate.weight")) << tensor;
    EXPECT_FALSE(tensor.starts_with("mtp.")) << tensor;
  }
  // 4 layers x (8 copies x 3 code tensors + gate), and the scales that happen to differ.
  EXPECT_GE(changed.size(), 4u * (8 * 3 + 1));
  for (const char* file : {"config.json", "tokenizer.json", "model.safetensors.index.json"}) {
    EXPECT_EQ(ReadTextFile(scratch / "out" / file), ReadTextFile(ReferenceFp8() / file)) << file;
  }
}

TEST(Planted, RouterNoiseHasTheAskedNorm) {
  const ScratchFolder scratch;
  const Checkpoint source = Checkpoint::Open(ReferenceFp8());
  PlantedOptions options;
  options.row_noise = 0.2;
  WritePlanted(source, options, scratch / "out");
  const Checkpoint planted = Checkpoint::Open(scratch / "out");
  const std::string gate = std::string(kLayer2) + "gate.weight";
  for (int pair = 0; pair < 8; ++pair) {
    // bf16 rounding adds at most 2^-9 of each entry.
    EXPECT_NEAR(RowDistance(planted, gate, 2 * pair, 2 * pair + 1), 0.2, 0.2 * 0.01 + 1.0 / 512);
  }
  EXPECT_GT(RowDistance(planted, gate, 16, 17), 0.3);  // experts that were left alone
}

TEST(Planted, MakesGroupsOfFourAndReportsThem) {
  const ScratchFolder scratch;
  const Checkpoint source = Checkpoint::Open(ReferenceFp8());
  PlantedOptions options;
  options.groups = 2;
  options.group_size = 4;
  const std::vector<CopiedExperts> groups = WritePlanted(source, options, scratch / "out");
  ASSERT_EQ(groups.size(), 8u);  // 4 layers
  EXPECT_EQ(groups[1].layer, 0);
  EXPECT_THAT(groups[1].members, ElementsAre(4, 5, 6, 7));
  EXPECT_EQ(groups[7].layer, 3);
  const Checkpoint planted = Checkpoint::Open(scratch / "out");
  for (int copy : {5, 6, 7}) {
    EXPECT_EQ(BytesOf(planted, ExpertTensor(copy, "up_proj.weight")),
              BytesOf(source, ExpertTensor(4, "up_proj.weight")));
  }
}

TEST(Planted, SameSeedSameBytesOtherSeedOtherRows) {
  const ScratchFolder scratch;
  const Checkpoint source = Checkpoint::Open(ReferenceFp8());
  PlantedOptions other;
  other.seed = 2;
  WritePlanted(source, {}, scratch / "a");
  WritePlanted(source, {}, scratch / "b");
  WritePlanted(source, other, scratch / "c");
  const std::string gate = std::string(kLayer2) + "gate.weight";
  const auto gate_of = [&](const std::string& folder) {
    return BytesOf(Checkpoint::Open(scratch / folder), gate);
  };
  EXPECT_EQ(gate_of("a"), gate_of("b"));
  EXPECT_NE(gate_of("a"), gate_of("c"));
}

TEST(Planted, CopiesSlicesOfFusedExperts) {
  const ScratchFolder scratch;
  WriteFusedTwin(Checkpoint::Open(ReferenceFp8()), {}, scratch / "twin");
  const Checkpoint twin = Checkpoint::Open(scratch / "twin");
  WritePlanted(twin, {}, scratch / "out");
  const Checkpoint planted = Checkpoint::Open(scratch / "out");
  for (const std::string leaf : {"gate_up_proj", "down_proj"}) {
    const std::string name = std::string(kLayer2) + "experts." + leaf;
    const auto before = BytesOf(twin, name), after = BytesOf(planted, name);
    const auto slice = [](const std::vector<std::byte>& bytes, std::int64_t expert) {
      return EntryOf(std::span<const std::byte>(bytes), 32, expert);
    };
    EXPECT_TRUE(std::ranges::equal(slice(after, 15), slice(before, 14)));
    EXPECT_TRUE(std::ranges::equal(slice(after, 14), slice(before, 14)));
    EXPECT_TRUE(std::ranges::equal(slice(after, 16), slice(before, 16)));
  }
}

TEST(Planted, RefusesMoreCopiesThanExperts) {
  const ScratchFolder scratch;
  PlantedOptions options;
  options.groups = 17;
  EXPECT_THROW(WritePlanted(Checkpoint::Open(ReferenceFp8()), options, scratch / "out"), Error);
}

}  // namespace
}  // namespace cacheready
