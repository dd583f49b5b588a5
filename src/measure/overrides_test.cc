// SPDX-License-Identifier: Apache-2.0
#include "measure/overrides.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "base/error_of.h"
#include "base/random.h"
#include "measure/tied_group.h"
#include "synth/planted.h"
#include "synth/scratch_folder.h"

namespace cacheready {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const Checkpoint& Source() {
  static const Checkpoint checkpoint = Checkpoint::Open(ReferenceFp8());
  return checkpoint;
}
const Model& ReferenceModel() {
  static const std::unique_ptr<Model> model = DescribeModel(Source());
  return *model;
}

std::string RefusalOf(const PlannedGroup& group) {
  return ErrorOf([&] { MakeOverrides(ReferenceModel(), Source(), std::span(&group, 1)); });
}

// Router logits of every layer, for the original and with `overrides`.
std::vector<std::vector<Matrix>> RouterLogitsOf(const RouterOverrides& overrides) {
  TokenBatch batch;
  RandomStream random(3);
  for (int n = 0; n < 50; ++n) batch.ids.push_back(static_cast<std::int32_t>(random.Below(4096)));
  batch.bounds.push_back(batch.tokens());
  const std::vector<Variant> variants = {{"original", Fp32Arithmetic()},
                                         {"new", Fp32Arithmetic(), &overrides}};
  std::vector<std::vector<Matrix>> logits(2);
  StreamState state = BeginStream(ReferenceModel(), batch, variants);
  RunLayers(
      ReferenceModel(), batch, variants,
      [&](std::int64_t, const Layer&, std::span<const LayerActivations> activations) {
        for (std::size_t v = 0; v < 2; ++v) logits[v].push_back(activations[v].logits);
      },
      state);
  return logits;
}

bool SameColumn(const Matrix& a, std::int64_t column_a, const Matrix& b, std::int64_t column_b) {
  for (std::int64_t t = 0; t < a.rows(); ++t) {
    if (a.at(t, column_a) != b.at(t, column_b)) return false;
  }
  return true;
}

TEST(Overrides, PlannedRowsReachTheRouterAndNoOtherRowChanges) {
  const std::vector<PlannedGroup> groups = {TiedToFirst(Source(), 1, {3, 9, 30}),
                                            TiedToFirst(Source(), 1, {4, 5})};
  const auto logits = RouterLogitsOf(MakeOverrides(ReferenceModel(), Source(), groups));
  EXPECT_TRUE(std::ranges::equal(logits[0][0].values(), logits[1][0].values()));  // layer 0
  const Matrix &before = logits[0][1], &after = logits[1][1];
  for (std::int64_t e = 0; e < 32; ++e) {
    const std::int64_t row = e == 9 || e == 30 ? 3 : e == 5 ? 4 : e;
    EXPECT_TRUE(SameColumn(after, e, before, row)) << "expert " << e;
    EXPECT_EQ(SameColumn(after, e, before, e), row == e) << "expert " << e;
  }
}

TEST(Overrides, StoredRowsLaidInAgainChangeNoBit) {
  PlannedGroup group = TiedToFirst(Source(), 2, {7});
  const auto logits =
      RouterLogitsOf(MakeOverrides(ReferenceModel(), Source(), std::span(&group, 1)));
  for (std::size_t n = 0; n < 4; ++n) {
    EXPECT_TRUE(std::ranges::equal(logits[0][n].values(), logits[1][n].values()));
  }
}

TEST(Overrides, RefusesATensorThatIsNotTheRouterOfItsLayer) {
  PlannedGroup group = TiedToFirst(Source(), 1, {3, 9});
  group.layer = 2;
  EXPECT_THAT(RefusalOf(group), HasSubstr("layers.1.mlp.gate.weight': is not of this layer's"));
  group.layer = 4;
  EXPECT_THAT(RefusalOf(group), HasSubstr("layer 4"));
  group.layer = -1;
  EXPECT_THAT(RefusalOf(group), HasSubstr("layer -1"));
}

TEST(Overrides, RefusesAnotherDtypeOrRowWidth) {
  PlannedGroup group = TiedToFirst(Source(), 1, {3, 9});
  group.tensors[0].dtype = Dtype::kF16;
  EXPECT_THAT(RefusalOf(group), HasSubstr("stored as BF16, the plan's rows are F16"));
  EXPECT_THAT(ErrorOf([&] { MakeOverrides(ReferenceModel(), std::span(&group, 1)); }),
              HasSubstr("rows are f16, the checkpoint stores bf16"));
  group = TiedToFirst(Source(), 1, {3, 9});
  group.tensors[0].row.resize(510);
  EXPECT_THAT(RefusalOf(group), HasSubstr("a row of 510 bytes, expected 512"));
}

TEST(Overrides, RefusesRowsThatReplaceOtherBytesThanThePlanned) {
  PlannedGroup group = TiedToFirst(Source(), 1, {3, 9});
  std::swap(group.tensors[0].replaced_sha256[0], group.tensors[0].replaced_sha256[1]);
  EXPECT_THAT(RefusalOf(group), HasSubstr("row 3 has SHA-256"));
}

TEST(Overrides, RefusesExpertsThatAreNotThereAndRowsNamedTwice) {
  PlannedGroup group = TiedToFirst(Source(), 1, {3, 9});
  group.members[1] = 32;
  EXPECT_THAT(RefusalOf(group), HasSubstr("names row 32, the shape is [32, 256]"));
  EXPECT_THAT(ErrorOf([&] { MakeOverrides(ReferenceModel(), std::span(&group, 1)); }),
              HasSubstr("names expert 32, the layer has 32"));
  const std::vector<PlannedGroup> overlapping = {TiedToFirst(Source(), 1, {3, 9}),
                                                 TiedToFirst(Source(), 1, {9, 11})};
  EXPECT_THAT(ErrorOf([&] { MakeOverrides(ReferenceModel(), Source(), overlapping); }),
              HasSubstr("row 9 is named twice"));
}

TEST(Overrides, RoutersOfAPatchedCopyAreItsStoredRows) {
  const ScratchFolder scratch;
  WritePlanted(Source(), {}, scratch / "planted");
  const Checkpoint planted = Checkpoint::Open(scratch / "planted");
  const RouterOverrides overrides = RoutersOf(*DescribeModel(planted), ReferenceModel());
  ASSERT_EQ(overrides.size(), 4u);
  const Matrix weight = DecodeAll(*overrides.at(2).weight);
  EXPECT_TRUE(std::ranges::equal(weight.values(), ReadFloats(planted.GetTensor(GateOf(2)))));
  EXPECT_FALSE(std::ranges::equal(weight.values(), ReadFloats(Source().GetTensor(GateOf(2)))));
}

// A model of one routed layer with both kinds of bias.
class BiasedModel : public Model {
 public:
  const ModelInfo& info() const override { return info_; }
  Matrix Embed(const Arithmetic&, std::span<const std::int32_t>) const override { return {}; }
  std::unique_ptr<Layer> OpenLayer(std::int64_t) const override {
    return std::make_unique<BiasedLayer>();
  }
  Matrix FinalNorm(const Arithmetic&, const Matrix&) const override { return {}; }
  Matrix Logits(const Arithmetic&, const Matrix&) const override { return {}; }

 private:
  class BiasedLayer : public Layer {
   public:
    BiasedLayer() {
      moe_.router = {.experts = 3, .top_k = 1};
      moe_.router.logit_bias = {1, 2, 3};
      moe_.router.selection_bias = {4, 5, 6};
      moe_.tensors = {.weight = "gate", .logit_bias = "gate.bias", .selection_bias = "correction"};
      moe_.router_weight = MakeDenseMatrix(Matrix(3, 2));
    }
    void AddMixer(const Arithmetic&, DocumentBounds, Matrix&) const override {}
    Matrix FfnInput(const Arithmetic&, const Matrix&) const override { return {}; }
    const MoeBlock* moe() const override { return &moe_; }
    Matrix RunDense(const Arithmetic&, const Matrix&) const override { return {}; }
    void AddFfn(const Arithmetic&, const Matrix&, Matrix&) const override {}

   private:
    MoeBlock moe_;
  };

  ModelInfo info_{
      .family = "biased", .layers = 1, .hidden = 2, .vocab = 2, .experts = 3, .top_k = 1};
};

PlannedTensor Planned(std::string tensor, Dtype dtype, std::vector<std::uint8_t> row) {
  PlannedTensor planned{std::move(tensor), dtype, {}, {}};
  for (const std::uint8_t byte : row) planned.row.push_back(std::byte{byte});
  return planned;
}

TEST(Overrides, BiasEntriesGoWithTheRows) {
  PlannedGroup group;
  group.members = {0, 2};
  group.tensors = {Planned("gate", Dtype::kF32, {0, 0, 0x80, 0x3F, 0, 0, 0, 0x40}),  // 1, 2
                   Planned("gate.bias", Dtype::kBF16, {0x20, 0x41}),                 // 10
                   Planned("correction", Dtype::kF32, {0, 0, 0xA0, 0x41})};          // 20
  const RouterOverrides overrides = MakeOverrides(BiasedModel(), std::span(&group, 1));
  EXPECT_THAT(DecodeAll(*overrides.at(0).weight).values(), ElementsAre(1, 2, 0, 0, 1, 2));
  EXPECT_THAT(overrides.at(0).logit_bias, ElementsAre(10, 2, 10));
  EXPECT_THAT(overrides.at(0).selection_bias, ElementsAre(20, 5, 20));
  group.tensors[1].row.push_back(std::byte{0});
  EXPECT_THAT(ErrorOf([&] { MakeOverrides(BiasedModel(), std::span(&group, 1)); }),
              HasSubstr("tensor 'gate.bias': has a row of 3 bytes, expected 2"));
}

}  // namespace
}  // namespace cacheready
