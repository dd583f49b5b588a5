// SPDX-License-Identifier: Apache-2.0
#include "arithmetic/profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "compute/test_matrices.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

float Chain(std::span<const float> w, std::span<const float> x) {
  float sum = 0;
  for (std::size_t k = 0; k < w.size(); ++k) sum = std::fma(w[k], x[k], sum);
  return sum;
}

// One 128 x 128 block of random codes.
struct Fp8Weight {
  std::vector<std::uint8_t> codes;
  std::vector<float> scale = {0.01f};
  EncodedMatrixPtr matrix;

  Fp8Weight() {
    for (std::uint64_t i = 0; i < 128 * 128; ++i) {
      codes.push_back(FloatToE4m3(static_cast<float>(100 * NormalAt(5, i))));
    }
    matrix = MakeFp8BlockMatrix(
        {"w", Dtype::kF8E4M3, {128, 128}, std::as_bytes(std::span(codes)), "f"},
        {"s", Dtype::kF32, {1, 1}, std::as_bytes(std::span(scale)), "f"}, {128, 128});
  }
};

TEST(Profiles, AreFoundByTheirDistinctNames) {
  std::set<std::string_view> names;
  for (const Profile& profile : Profiles()) {
    EXPECT_TRUE(names.insert(profile.name).second) << profile.name;
    EXPECT_EQ(&GetProfile(profile.name), &profile);
  }
  EXPECT_THAT([] { GetProfile("bf17"); },
              ThrowsMessage<Error>(AllOf(HasSubstr("'bf17'"), HasSubstr("fp8-w8a8"))));
}

TEST(Profiles, DefaultFollowsTheExpertsFormat) {
  EXPECT_EQ(DefaultProfile("fp8-block").name, "fp8-w8a8");
  EXPECT_EQ(DefaultProfile("bf16").name, "bf16-tp1");
  EXPECT_EQ(DefaultProfile("f16").name, "bf16-tp1");
}

TEST(Profiles, Fp32RoundsNowhere) {
  for (const Rounding rounding : GetProfile("fp32").rounding) EXPECT_EQ(rounding, Rounding::kNone);
  EXPECT_EQ(GetProfile("fp32").reading, WeightReading::kStored);
  EXPECT_EQ(Fp32Arithmetic().profile, &GetProfile("fp32"));
}

TEST(Profiles, VllmKeepsRoutingWeightsInFp32AndTransformersDoesNot) {
  EXPECT_EQ(GetProfile("bf16-tp1").at(RoundingPoint::kRouterWeights), Rounding::kNone);
  EXPECT_EQ(GetProfile("bf16-eager").at(RoundingPoint::kRouterWeights), Rounding::kBf16);
  EXPECT_EQ(GetProfile("bf16-tp1").at(RoundingPoint::kRouterLogits), Rounding::kBf16);
  // Operators that the engines' DeltaNet kernels fuse.
  for (const RoundingPoint point : {RoundingPoint::kConvolutionSum, RoundingPoint::kNormalizedKeys,
                                    RoundingPoint::kUpdateStrength, RoundingPoint::kUngatedNorm}) {
    EXPECT_EQ(GetProfile("bf16-tp1").at(point), Rounding::kNone);
    EXPECT_EQ(GetProfile("bf16-eager").at(point), Rounding::kBf16);
  }
  EXPECT_TRUE(GetProfile("bf16-tp1").expert_sum_in_topk_order);
  EXPECT_FALSE(GetProfile("bf16-eager").expert_sum_in_topk_order);
}

TEST(Round, FollowsTheTable) {
  std::vector<float> values = {1.0f + 0x1p-10f};
  Round(Fp32Arithmetic(), RoundingPoint::kNorm, values);
  EXPECT_EQ(values[0], 1.0f + 0x1p-10f);
  const Arithmetic bf16{.profile = &GetProfile("bf16-tp1"), .dither_seed = {}};
  Round(bf16, RoundingPoint::kRouterWeights, values);
  EXPECT_EQ(values[0], 1.0f + 0x1p-10f);
  Round(bf16, RoundingPoint::kNorm, values);
  EXPECT_EQ(values[0], 1.0f);
}

TEST(Linear, InFp32IsTheChainOfTheStoredWeightsPlusBias) {
  const Fp8Weight w;
  const Matrix x = Normals(4, 128, 6), bias = Normals(1, 128, 7), decoded = DecodeAll(*w.matrix);
  const Matrix y = Linear(Fp32Arithmetic(), Role::kExpert, *w.matrix, x, bias.row(0));
  for (std::int64_t t = 0; t < 4; ++t) {
    for (std::int64_t n = 0; n < 128; ++n) {
      EXPECT_EQ(y.at(t, n), Chain(decoded.row(n), x.row(t)) + bias.at(0, n));
    }
  }
}

TEST(Linear, InBf16RoundsWeightsOnceAndTheOutput) {
  const Fp8Weight w;
  const Matrix x = Normals(4, 128, 6);
  Matrix rounded = DecodeAll(*w.matrix);
  for (float& value : rounded.values()) value = RoundToBf16(value);
  const Arithmetic bf16{.profile = &GetProfile("bf16-tp1"), .dither_seed = {}};
  const Matrix y = Linear(bf16, Role::kExpert, *w.matrix, x);
  for (std::int64_t t = 0; t < 4; ++t) {
    for (std::int64_t n = 0; n < 128; ++n) {
      EXPECT_EQ(y.at(t, n), RoundToBf16(Chain(rounded.row(n), x.row(t))));
    }
  }
}

TEST(Linear, InW8a8QuantizesActivationsOfFp8BlocksOnly) {
  const Fp8Weight w;
  const Matrix x = Normals(4, 128, 6), dense = Normals(16, 128, 8);
  const Arithmetic w8a8{.profile = &GetProfile("fp8-w8a8"), .dither_seed = {}};
  const Arithmetic bf16{.profile = &GetProfile("bf16-tp1"), .dither_seed = {}};
  const Matrix y = Linear(w8a8, Role::kExpert, *w.matrix, x);
  const Matrix exact = MatMulScaled(*w.matrix, QuantizeTokensE4m3(x, 128));
  const EncodedMatrixPtr plain = MakeDenseMatrix(dense);
  const Matrix same = Linear(w8a8, Role::kMixerInput, *plain, x);
  const Matrix expected = Linear(bf16, Role::kMixerInput, *plain, x);
  for (std::size_t i = 0; i < y.values().size(); ++i) {
    EXPECT_EQ(y.values()[i], RoundToBf16(exact.values()[i]));
  }
  EXPECT_TRUE(std::ranges::equal(same.values(), expected.values()));
}

TEST(Linear, GivesTheSameBitsForAnInputPreparedOnce) {
  const Fp8Weight w;
  const EncodedMatrixPtr plain = MakeDenseMatrix(Normals(16, 128, 8));
  const Matrix x = Normals(4, 128, 6);
  for (const Profile& profile : Profiles()) {
    const Arithmetic arithmetic{.profile = &profile};
    LinearInput input(x);
    for (const EncodedMatrix* weight : {w.matrix.get(), plain.get(), w.matrix.get()}) {
      EXPECT_TRUE(std::ranges::equal(Linear(arithmetic, Role::kExpert, *weight, input).values(),
                                     Linear(arithmetic, Role::kExpert, *weight, x).values()));
    }
  }
}

TEST(Linear, DithersEverythingButTheRouter) {
  const Fp8Weight w;
  const Matrix x = Normals(4, 128, 6);
  Arithmetic dithered = Fp32Arithmetic();
  dithered.dither_seed = 1;
  const auto same = [&](Role role) {
    return std::ranges::equal(Linear(dithered, role, *w.matrix, x).values(),
                              Linear(Fp32Arithmetic(), role, *w.matrix, x).values());
  };
  EXPECT_TRUE(same(Role::kRouter));
  EXPECT_FALSE(same(Role::kExpert));
}

// 1 + 2^-12 is no bf16 number, neither as a weight nor as a logit.
TEST(Linear, AnFp32RouterKeepsItsWeightsAndLogits) {
  Matrix weight(1, 1), x(1, 1);
  weight.at(0, 0) = 1 + 0x1p-12f;
  x.at(0, 0) = 1;
  const EncodedMatrixPtr stored = MakeDenseMatrix(std::move(weight));
  for (const Profile& profile : Profiles()) {
    const Arithmetic arithmetic{.profile = &profile};
    EXPECT_EQ(Linear(arithmetic, Role::kFp32Router, *stored, x).at(0, 0), 1 + 0x1p-12f);
    EXPECT_EQ(Linear(arithmetic, Role::kRouter, *stored, x).at(0, 0),
              profile.name == "fp32" ? 1 + 0x1p-12f : 1.0f);
  }
}

}  // namespace
}  // namespace cacheready
