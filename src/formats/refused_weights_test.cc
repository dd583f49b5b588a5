// Quantized weights that are not what their format says: refused with the names of the tensors.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "formats/fake_checkpoint.h"
#include "formats/weight_formats.h"

namespace cacheready {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// The message of the error on opening the module "m" or on decoding its rows; "accepted" if none.
std::string Refusal(const FakeCheckpoint& checkpoint, const FormatRequest& request) {
  try {
    DecodeAll(*OpenWeight(request, checkpoint.finder()));
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

std::string Refusal(const FakeCheckpoint& checkpoint) {
  return Refusal(checkpoint, {.module = "m"});
}

// A weight [8, 64] of each format that is accepted as it is.
struct Good {
  std::string name;
  FakeCheckpoint checkpoint;
  QuantizationScheme scheme;

  FormatRequest request() const {
    return {
        .module = "m", .rows = 8, .cols = 64, .scheme = scheme.format.empty() ? nullptr : &scheme};
  }
};

Good GoodFp8(Dtype scale, std::vector<std::int64_t> shape) {
  Good good{"fp8", {}, {}};
  good.checkpoint.Add("m.weight", Dtype::kF8E4M3, {8, 64});
  good.checkpoint.Add("m.weight_scale", scale, std::move(shape));
  return good;
}

Good GoodInt8() {
  Good good{"int8", {}, {}};
  good.checkpoint.Add("m.weight", Dtype::kI8, {8, 64});
  good.checkpoint.Add("m.weight_scale", Dtype::kBF16, {8, 1});
  return good;
}

Good GoodNvfp4(bool modelopt) {
  Good good{modelopt ? "nvfp4" : "nvfp4-packed", {}, {}};
  good.checkpoint.Add(modelopt ? "m.weight" : "m.weight_packed", Dtype::kU8, {8, 32});
  good.checkpoint.Add("m.weight_scale", Dtype::kF8E4M3, {8, 4});
  good.checkpoint.Add(modelopt ? "m.weight_scale_2" : "m.weight_global_scale", Dtype::kF32, {1},
                      std::vector<float>{2.0f});
  return good;
}

Good GoodMxfp4() {
  Good good{"mxfp4", {}, {}};
  good.checkpoint.Add("m.weight_packed", Dtype::kU8, {8, 32});
  good.checkpoint.Add("m.weight_scale", Dtype::kU8, {8, 2});
  return good;
}

Good GoodPacked() {
  Good good{"int-packed", {}, {}};
  good.checkpoint.Add("m.weight_packed", Dtype::kI32, {8, 8});
  good.checkpoint.Add("m.weight_scale", Dtype::kBF16, {8, 4});
  good.checkpoint.Add("m.weight_shape", Dtype::kI64, {2}, std::vector<std::int64_t>{8, 64});
  good.checkpoint.Add("m.weight_zero_point", Dtype::kI32, {1, 4});
  good.checkpoint.Add("m.weight_g_idx", Dtype::kI32, {64});
  return good;
}

Good GoodGptq() {
  Good good{"gptq", {}, {.format = "gptq", .weights = {.symmetric = false}}};
  good.checkpoint.Add("m.qweight", Dtype::kI32, {8, 8});
  good.checkpoint.Add("m.qzeros", Dtype::kI32, {4, 1});
  good.checkpoint.Add("m.scales", Dtype::kF16, {4, 8});
  good.checkpoint.Add("m.g_idx", Dtype::kI32, {64});
  return good;
}

Good GoodAwq() {
  Good good{"awq", {}, {}};
  good.checkpoint.Add("m.qweight", Dtype::kI32, {64, 1});
  good.checkpoint.Add("m.qzeros", Dtype::kI32, {4, 1});
  good.checkpoint.Add("m.scales", Dtype::kF16, {4, 8});
  return good;
}

// One tensor of a good weight with another dtype or shape.
struct Change {
  const char* tensor;
  Dtype dtype;
  std::vector<std::int64_t> shape;
};

void ExpectRefused(const Good& good, const std::vector<Change>& changes) {
  EXPECT_EQ(Refusal(good.checkpoint, good.request()), "accepted") << good.name;
  for (const Change& change : changes) {
    Good bad = good;
    bad.checkpoint = FakeCheckpoint();
    const TensorFinder find = good.checkpoint.finder();
    for (const char* suffix : {".weight", ".weight_packed", ".weight_scale", ".weight_scale_2",
                               ".weight_global_scale", ".weight_shape", ".weight_zero_point",
                               ".weight_g_idx", ".qweight", ".qzeros", ".scales", ".g_idx"}) {
      const TensorView* tensor = find(std::string("m") + suffix);
      if (tensor == nullptr) continue;
      bad.checkpoint.Add(tensor->name, tensor->dtype, tensor->shape,
                         std::vector<std::byte>(tensor->bytes.begin(), tensor->bytes.end()));
    }
    bad.checkpoint.Add(change.tensor, change.dtype, change.shape);
    EXPECT_THAT(
        Refusal(bad.checkpoint, bad.request()),
        AllOf(HasSubstr("shard.safetensors"), HasSubstr(std::string("'") + change.tensor + "'"),
              HasSubstr(ShapeText(change.shape))))
        << good.name << ": " << change.tensor << " " << DtypeName(change.dtype);
  }
}

TEST(RefusedWeights, OfOtherShapesAndDtypes) {
  ExpectRefused(GoodFp8(Dtype::kBF16, {8, 1}), {{"m.weight_scale", Dtype::kBF16, {7, 1}},
                                                {"m.weight_scale", Dtype::kBF16, {8, 2}},
                                                {"m.weight_scale", Dtype::kBF16, {9}},
                                                {"m.weight_scale", Dtype::kI32, {8, 1}},
                                                {"m.weight", Dtype::kF8E4M3, {8, 8, 8}},
                                                {"m.weight", Dtype::kF8E5M2, {8, 64}}});
  ExpectRefused(GoodFp8(Dtype::kF8E8M0, {8, 2}), {{"m.weight_scale", Dtype::kF8E8M0, {8, 3}},
                                                  {"m.weight_scale", Dtype::kF32, {8, 2}}});
  ExpectRefused(GoodInt8(), {{"m.weight", Dtype::kI8, {2, 4, 64}},
                             {"m.weight_scale", Dtype::kBF16, {4, 1}},
                             {"m.weight_scale", Dtype::kI32, {8, 1}}});
  for (const bool modelopt : {true, false}) {
    const char* global = modelopt ? "m.weight_scale_2" : "m.weight_global_scale";
    const char* codes = modelopt ? "m.weight" : "m.weight_packed";
    ExpectRefused(GoodNvfp4(modelopt), {{codes, Dtype::kU8, {8, 31}},
                                        {codes, Dtype::kI8, {8, 32}},
                                        {codes, Dtype::kU8, {256}},
                                        {"m.weight_scale", Dtype::kF8E4M3, {8, 2}},
                                        {"m.weight_scale", Dtype::kF32, {8, 4}},
                                        {global, Dtype::kF32, {8}},
                                        {global, Dtype::kBF16, {1}}});
  }
  ExpectRefused(GoodMxfp4(), {{"m.weight_packed", Dtype::kU8, {8, 48}},
                              {"m.weight_packed", Dtype::kI8, {8, 32}},
                              {"m.weight_scale", Dtype::kU8, {8, 4}},
                              {"m.weight_scale", Dtype::kBF16, {8, 2}}});
  ExpectRefused(GoodPacked(), {{"m.weight_packed", Dtype::kI32, {8, 9}},
                               {"m.weight_packed", Dtype::kU32, {8, 8}},
                               {"m.weight_packed", Dtype::kI32, {64}},
                               {"m.weight_scale", Dtype::kBF16, {9, 4}},
                               {"m.weight_scale", Dtype::kI32, {8, 4}},
                               {"m.weight_shape", Dtype::kI64, {3}},
                               {"m.weight_shape", Dtype::kF32, {2}},
                               {"m.weight_zero_point", Dtype::kI32, {8, 4}},
                               {"m.weight_zero_point", Dtype::kI8, {1, 4}},
                               {"m.weight_g_idx", Dtype::kI32, {63}},
                               {"m.weight_g_idx", Dtype::kI64, {64}}});
  ExpectRefused(GoodGptq(), {{"m.qweight", Dtype::kI32, {9, 8}},
                             {"m.qweight", Dtype::kI64, {8, 8}},
                             {"m.qzeros", Dtype::kI32, {4, 2}},
                             {"m.qzeros", Dtype::kI32, {5, 1}},
                             {"m.scales", Dtype::kF16, {4, 9}},
                             {"m.g_idx", Dtype::kI32, {65}},
                             {"m.g_idx", Dtype::kI64, {64}}});
  ExpectRefused(GoodAwq(), {{"m.qweight", Dtype::kI32, {64, 2}},
                            {"m.qzeros", Dtype::kI32, {5, 1}},
                            {"m.scales", Dtype::kF16, {4, 9}},
                            {"m.scales", Dtype::kF16, {3, 8}}});
}

TEST(RefusedWeights, WithAScaleThatIsNoNumber) {
  Good mxfp4 = GoodMxfp4();
  std::vector<std::uint8_t> powers(16, 127);
  powers[11] = 255;
  mxfp4.checkpoint.Add("m.weight_scale", Dtype::kU8, {8, 2}, powers);
  EXPECT_THAT(Refusal(mxfp4.checkpoint),
              AllOf(HasSubstr("'m.weight_scale' U8 [8, 2] holds nan at element 11"),
                    HasSubstr("shard.safetensors")));

  FakeCheckpoint block;
  block.Add("m.weight", Dtype::kF8E4M3, {8, 64});
  block.Add("m.weight_scale_inv", Dtype::kF8E8M0, {1, 1}, std::vector<std::uint8_t>{255});
  EXPECT_THAT(Refusal(block), HasSubstr("'m.weight_scale_inv' F8_E8M0 [1, 1] holds nan"));

  Good fp8 = GoodFp8(Dtype::kBF16, {8, 1});
  fp8.checkpoint.Add("m.weight_scale", Dtype::kBF16, {8, 1},
                     std::vector<std::uint16_t>{0, 0, 0, 0, 0, 0x7F80, 0, 0});
  EXPECT_THAT(Refusal(fp8.checkpoint), HasSubstr("'m.weight_scale' BF16 [8, 1] holds inf"));

  Good nvfp4 = GoodNvfp4(true);
  nvfp4.checkpoint.Add("m.weight_scale", Dtype::kF8E4M3, {8, 4},
                       std::vector<std::uint8_t>(32, 0x7F));
  EXPECT_THAT(Refusal(nvfp4.checkpoint), HasSubstr("'m.weight_scale' F8_E4M3 [8, 4] holds nan"));
}

TEST(RefusedWeights, WithGlobalScalesThatLeaveTheNumbers) {
  Good divided = GoodNvfp4(false);
  divided.checkpoint.Add("m.weight_global_scale", Dtype::kF32, {1});
  EXPECT_THAT(Refusal(divided.checkpoint),
              AllOf(HasSubstr("'m.weight_global_scale' is 0"), HasSubstr("divided")));
  divided.checkpoint.Add("m.weight_scale", Dtype::kF8E4M3, {8, 4},
                         std::vector<std::uint8_t>(32, 0x7E));
  divided.checkpoint.Add("m.weight_global_scale", Dtype::kF32, {1}, std::vector<float>{1e-38f});
  EXPECT_THAT(Refusal(divided.checkpoint), HasSubstr("'m.weight_global_scale' holds 1e-38"));
}

TEST(RefusedWeights, WithGroupsThatAreNotThere) {
  Good packed = GoodPacked();
  std::vector<std::int32_t> group_of(64, 3);
  group_of[17] = 4;
  packed.checkpoint.Add("m.weight_g_idx", Dtype::kI32, {64}, group_of);
  EXPECT_THAT(Refusal(packed.checkpoint),
              HasSubstr("'m.weight_g_idx' puts column 17 into group 4"));
  Good gptq = GoodGptq();
  group_of[17] = -2;
  gptq.checkpoint.Add("m.g_idx", Dtype::kI32, {64}, group_of);
  EXPECT_THAT(Refusal(gptq.checkpoint, gptq.request()),
              HasSubstr("'m.g_idx' puts column 17 into group -2, and there are 4"));
}

TEST(RefusedWeights, OfAnotherShapeThanTheyThemselvesSay) {
  Good packed = GoodPacked();
  packed.checkpoint.Add("m.weight_shape", Dtype::kI64, {2}, std::vector<std::int64_t>{8, 63});
  EXPECT_THAT(Refusal(packed.checkpoint, packed.request()),
              AllOf(HasSubstr("'m.weight_shape' says [8, 63]"), HasSubstr("[8, 64]")));
}

// 4 and 8 bits can only be told apart by shapes if a row fills more than one word.
TEST(RefusedWeights, WhoseBitsNothingTells) {
  FakeCheckpoint checkpoint;
  checkpoint.Add("m.weight_packed", Dtype::kI32, {8, 1});
  checkpoint.Add("m.weight_scale", Dtype::kBF16, {8, 1});
  checkpoint.Add("m.weight_shape", Dtype::kI64, {2}, std::vector<std::int64_t>{8, 3});
  EXPECT_THAT(Refusal(checkpoint), HasSubstr("4 and 8 bits"));
  QuantizationScheme scheme{.format = "int-packed", .weights = {.bits = 8, .integer = true}};
  EXPECT_EQ(Refusal(checkpoint, {.module = "m", .scheme = &scheme}), "accepted");
}

TEST(RefusedWeights, ThatAreNotWhatTheConfigSays) {
  Good packed = GoodPacked();
  packed.scheme = {.format = "int-packed", .weights = {.bits = 8, .integer = true}};
  EXPECT_THAT(Refusal(packed.checkpoint, packed.request()), HasSubstr("8 bits a weight"));
  packed.scheme.weights = {.bits = 4, .integer = true, .span = ScaleSpan::kGroup, .block = {1, 32}};
  EXPECT_THAT(Refusal(packed.checkpoint, packed.request()),
              AllOf(HasSubstr("'m.weight_scale' [8, 4]"), HasSubstr("expected 2 of 32")));
}

TEST(RefusedWeights, GptqWithoutAConfigOrWithTheOtherLayout) {
  Good gptq = GoodGptq();
  EXPECT_THAT(Refusal(gptq.checkpoint),
              AllOf(HasSubstr("'m' is stored as GPTQ"), HasSubstr("checkpoint_format")));
  const std::vector<std::uint32_t> sevens(4, 0x77777777u);
  gptq.checkpoint.Add("m.qzeros", Dtype::kI32, {4, 1}, sevens);
  gptq.scheme.weights = {.bits = 4, .integer = true, .symmetric = true};
  gptq.scheme.zeros_minus_one = true;
  EXPECT_EQ(Refusal(gptq.checkpoint, gptq.request()), "accepted");
  gptq.scheme.zeros_minus_one = false;
  EXPECT_THAT(Refusal(gptq.checkpoint, gptq.request()),
              AllOf(HasSubstr("'m.qzeros' has zero point 7"), HasSubstr("'checkpoint_format'"),
                    HasSubstr("gptq_v2")));
}

TEST(RefusedWeights, SlicesBeyondFusedExperts) {
  FakeCheckpoint checkpoint;
  checkpoint.Add("m_blocks", Dtype::kU8, {2, 6, 2, 16});
  checkpoint.Add("m_scales", Dtype::kU8, {2, 6, 2});
  const auto refusal = [&](const PlainSlice& slice) {
    return Refusal(checkpoint, {.module = "m", .slice = slice});
  };
  EXPECT_EQ(refusal({.index = 1, .row_begin = 1, .rows = 3, .row_stride = 2}), "accepted");
  EXPECT_THAT(refusal({.index = 2}), HasSubstr("'m_blocks'"));
  EXPECT_THAT(refusal({.row_begin = 1, .rows = 4, .row_stride = 2}), HasSubstr("has 3 rows"));
  EXPECT_THAT(refusal({.transposed = true}), HasSubstr("[experts, in, out]"));
  checkpoint.Add("m_scales", Dtype::kU8, {2, 6, 4});
  EXPECT_THAT(refusal({}), AllOf(HasSubstr("'m_scales'"), HasSubstr("[2, 6, 4]")));
  checkpoint.Add("m_scales", Dtype::kBF16, {2, 6, 2});
  EXPECT_THAT(refusal({}), AllOf(HasSubstr("'m_scales'"), HasSubstr("BF16")));
}

}  // namespace
}  // namespace cacheready
