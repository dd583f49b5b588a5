// SPDX-License-Identifier: Apache-2.0
#include "formats/weight_formats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "formats/fake_checkpoint.h"

namespace cacheready {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(WeightFormats, FindsPlainAndFp8BlockWeights) {
  FakeCheckpoint checkpoint;
  checkpoint.Add("a.weight", Dtype::kBF16, {4, 8});
  checkpoint.Add("b.weight", Dtype::kF16, {4, 8});
  checkpoint.Add("c.weight", Dtype::kF32, {4, 8});
  checkpoint.Add("d.weight", Dtype::kF8E4M3, {130, 8});
  checkpoint.Add("d.weight_scale_inv", Dtype::kBF16, {2, 1});
  const TensorFinder find = checkpoint.finder();
  const auto name = [&](const char* module) {
    return FindWeightFormat({.module = module}, find)->name;
  };
  EXPECT_EQ(name("a"), "bf16");
  EXPECT_EQ(name("b"), "f16");
  EXPECT_EQ(name("c"), "f32");
  EXPECT_EQ(name("d"), "fp8-block");
  EXPECT_EQ(OpenWeight({.module = "d", .rows = 130, .cols = 8}, find)->format(), "fp8-block");
  EXPECT_THAT(WeightTensorNames({.module = "d"}, find),
              ElementsAre("d.weight", "d.weight_scale_inv"));
}

TEST(WeightFormats, ReturnsNullOnlyIfNoTensorOfTheModuleIsThere) {
  FakeCheckpoint checkpoint;
  checkpoint.Add("other.weight", Dtype::kBF16, {4, 8});
  EXPECT_EQ(FindWeightFormat({.module = "m"}, checkpoint.finder()), nullptr);
  EXPECT_THAT([&] { OpenWeight({.module = "m"}, checkpoint.finder()); },
              ThrowsMessage<Error>(HasSubstr("'m.weight'")));
}

TEST(WeightFormats, RefusesAnOtherShapeThanTheConfigSays) {
  FakeCheckpoint checkpoint;
  checkpoint.Add("m.weight", Dtype::kBF16, {4, 8});
  EXPECT_THAT([&] { OpenWeight({.module = "m", .rows = 8, .cols = 4}, checkpoint.finder()); },
              ThrowsMessage<Error>(AllOf(HasSubstr("shard.safetensors"), HasSubstr("'m.weight'"),
                                         HasSubstr("[4, 8]"), HasSubstr("[8, 4]"))));
}

TEST(WeightFormats, FindsTheShapeOfFusedWeights) {
  FakeCheckpoint checkpoint;
  checkpoint.Add("plain", Dtype::kBF16, {4, 8, 6});
  checkpoint.Add("packed_blocks", Dtype::kU8, {4, 10, 2, 16});
  checkpoint.Add("packed_scales", Dtype::kU8, {4, 10, 2});
  checkpoint.Add("packed_bias", Dtype::kBF16, {4, 10});
  const TensorFinder find = checkpoint.finder();
  EXPECT_THAT(FindFusedShape({.module = "plain"}, find), ElementsAre(4, 8, 6));
  EXPECT_THAT(FindFusedShape({.module = "packed"}, find), ElementsAre(4, 10, 64));
  EXPECT_THAT(FindFusedShape({.module = "absent"}, find), ElementsAre());
  EXPECT_EQ(OpenWeight({.module = "packed", .slice = PlainSlice{.index = 3}}, find)->format(),
            "mxfp4");
}

struct UnknownCase {
  const char* name;
  std::vector<std::pair<std::string, Dtype>> tensors;
};

class UnknownFormat : public ::testing::TestWithParam<UnknownCase> {};

TEST_P(UnknownFormat, IsRefusedByTheNamesOfItsTensors) {
  FakeCheckpoint checkpoint;
  for (const auto& [suffix, dtype] : GetParam().tensors) {
    checkpoint.Add("m" + suffix, dtype, {2, 2});
  }
  for (const auto& [suffix, dtype] : GetParam().tensors) {
    EXPECT_THAT(
        [&] { FindWeightFormat({.module = "m", .quant_method = "x"}, checkpoint.finder()); },
        ThrowsMessage<Error>(AllOf(HasSubstr("'m" + suffix + "'"), HasSubstr("fp8-block"),
                                   HasSubstr(std::string(DtypeName(dtype))))));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Published, UnknownFormat,
    ::testing::Values(
        UnknownCase{"gptqwithoutzeros", {{".qweight", Dtype::kI32}, {".scales", Dtype::kF16}}},
        UnknownCase{"packedwithoutshape",
                    {{".weight_packed", Dtype::kI32}, {".weight_scale", Dtype::kBF16}}},
        UnknownCase{"nvfp4withsmoothing",
                    {{".weight", Dtype::kU8},
                     {".weight_scale", Dtype::kF8E4M3},
                     {".weight_scale_2", Dtype::kF32},
                     {".pre_quant_scale", Dtype::kBF16}}},
        UnknownCase{"nvfp4withlowrank",
                    {{".weight", Dtype::kU8},
                     {".weight_scale", Dtype::kF8E4M3},
                     {".weight_scale_2", Dtype::kF32},
                     {".svdquant_lora_a", Dtype::kBF16}}},
        UnknownCase{"nvfp4withoutglobal",
                    {{".weight", Dtype::kU8}, {".weight_scale", Dtype::kF8E4M3}}},
        UnknownCase{"int4bytes", {{".weight", Dtype::kU8}, {".weight_scale", Dtype::kF32}}},
        UnknownCase{"bitsandbytes4", {{".weight", Dtype::kU8}, {".weight.absmax", Dtype::kF32}}},
        UnknownCase{"bitsandbytes8", {{".weight", Dtype::kI8}, {".SCB", Dtype::kF32}}},
        UnknownCase{"twofp8scales",
                    {{".weight", Dtype::kF8E4M3},
                     {".weight_scale", Dtype::kF32},
                     {".weight_scale_inv", Dtype::kF32}}},
        UnknownCase{"barefp8", {{".weight", Dtype::kF8E4M3}}},
        UnknownCase{"barefp8e5m2", {{".weight", Dtype::kF8E5M2}, {".weight_scale", Dtype::kF32}}},
        UnknownCase{"plainwithscale",
                    {{".weight", Dtype::kBF16}, {".weight_scale_inv", Dtype::kBF16}}}),
    [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace cacheready
