// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.h"
#include "model/model.h"

namespace cacheready {
namespace {

constexpr std::int64_t kHidden = 24, kWidth = 16, kExperts = 6, kTopK = 3, kTokens = 40;

Matrix Random(std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
  Matrix matrix(rows, cols);
  std::uint64_t index = 0;
  for (float& value : matrix.values()) value = static_cast<float>(NormalAt(seed, index++)) * 0.3f;
  return matrix;
}

FeedForward RandomFeedForward(std::uint64_t seed) {
  return {MakeDenseMatrix(Random(kWidth, kHidden, seed)),
          MakeDenseMatrix(Random(kWidth, kHidden, seed + 1)),
          MakeDenseMatrix(Random(kHidden, kWidth, seed + 2))};
}

MoeBlock RandomBlock(bool shared) {
  MoeBlock moe;
  moe.router = {.experts = kExperts, .top_k = kTopK};
  moe.router_weight = MakeDenseMatrix(Random(kExperts, kHidden, 1));
  for (std::uint64_t e = 0; e < kExperts; ++e) {
    moe.experts.push_back(RandomFeedForward(100 + 10 * e));
  }
  if (shared) {
    moe.shared = RandomFeedForward(900);
    moe.shared_gate = MakeDenseMatrix(Random(1, kHidden, 950));
  }
  return moe;
}

// down(silu(gate x) * up x) in doubles, straight from the definition.
std::vector<double> ReferenceFeedForward(const FeedForward& ffn, std::span<const float> x) {
  const Matrix gate = DecodeAll(*ffn.gate), up = DecodeAll(*ffn.up), down = DecodeAll(*ffn.down);
  const auto dot = [](std::span<const float> row, auto&& values) {
    double sum = 0;
    for (std::size_t n = 0; n < row.size(); ++n) sum += static_cast<double>(row[n]) * values[n];
    return sum;
  };
  std::vector<double> inner, y;
  for (std::int64_t n = 0; n < kWidth; ++n) {
    const double g = dot(gate.row(n), x);
    inner.push_back(g / (1 + std::exp(-g)) * dot(up.row(n), x));
  }
  for (std::int64_t n = 0; n < kHidden; ++n) y.push_back(dot(down.row(n), inner));
  return y;
}

void ExpectNear(const std::vector<double>& expected, std::span<const float> found) {
  ASSERT_EQ(expected.size(), found.size());
  for (std::size_t n = 0; n < found.size(); ++n) EXPECT_NEAR(expected[n], found[n], 1e-5);
}

TEST(MoeBlock, OutputIsTheWeightedSumOfTheSelectedExpertsPlusTheGatedSharedOne) {
  const MoeBlock moe = RandomBlock(true);
  const Matrix x = Random(kTokens, kHidden, 3);
  const Routing routing =
      Route(moe.router, RouterLogits(Fp32Arithmetic(), moe, x), Fp32Arithmetic());
  const Matrix y = RunMoe(Fp32Arithmetic(), moe, x, routing);
  const Matrix shared_gate = DecodeAll(*moe.shared_gate);
  for (std::int64_t t = 0; t < kTokens; ++t) {
    double gate = 0;
    for (std::int64_t h = 0; h < kHidden; ++h) {
      gate += static_cast<double>(shared_gate.at(0, h)) * x.at(t, h);
    }
    std::vector<double> expected = ReferenceFeedForward(*moe.shared, x.row(t));
    for (double& value : expected) value /= 1 + std::exp(-gate);
    for (std::size_t slot = 0; slot < kTopK; ++slot) {
      const auto expert = static_cast<std::size_t>(routing.ids_of(t)[slot]);
      const std::vector<double> output = ReferenceFeedForward(moe.experts[expert], x.row(t));
      for (std::size_t h = 0; h < expected.size(); ++h) {
        expected[h] += static_cast<double>(routing.weights_of(t)[slot]) * output[h];
      }
    }
    ExpectNear(expected, y.row(t));
  }
}

TEST(MoeBlock, WeightsOnTheInputScaleWhatTheExpertsSee) {
  MoeBlock moe = RandomBlock(false);
  moe.router.weights_on_input = true;
  const Matrix x = Random(kTokens, kHidden, 7);
  const Routing routing =
      Route(moe.router, RouterLogits(Fp32Arithmetic(), moe, x), Fp32Arithmetic());
  const Matrix y = RunMoe(Fp32Arithmetic(), moe, x, routing);
  for (std::int64_t t = 0; t < kTokens; ++t) {
    std::vector<double> expected(kHidden);
    for (std::size_t slot = 0; slot < kTopK; ++slot) {
      std::vector<float> input(x.row(t).begin(), x.row(t).end());
      for (float& value : input) value *= routing.weights_of(t)[slot];
      const auto expert = static_cast<std::size_t>(routing.ids_of(t)[slot]);
      const std::vector<double> output = ReferenceFeedForward(moe.experts[expert], input);
      for (std::size_t h = 0; h < expected.size(); ++h) expected[h] += output[h];
    }
    ExpectNear(expected, y.row(t));
  }
}

// Inputs large enough that both clamps act.
TEST(FeedForward, ClampedSwigluWithBiases) {
  FeedForward ffn = RandomFeedForward(40);
  ffn.activation = Activation::kClampedSwiglu;
  const auto bias = [](std::int64_t size, std::uint64_t seed) {
    const Matrix values = Random(1, size, seed);
    return std::vector<float>(values.values().begin(), values.values().end());
  };
  ffn.gate_bias = bias(kWidth, 41);
  ffn.up_bias = bias(kWidth, 42);
  ffn.down_bias = bias(kHidden, 43);
  Matrix x = Random(kTokens, kHidden, 44);
  for (float& value : x.values()) value *= 20;
  const Matrix y = RunFeedForward(Fp32Arithmetic(), Role::kExpert, ffn, x);
  const Matrix gate = DecodeAll(*ffn.gate), up = DecodeAll(*ffn.up), down = DecodeAll(*ffn.down);
  int clamped = 0;
  for (std::int64_t t = 0; t < kTokens; ++t) {
    std::vector<double> inner, expected(ffn.down_bias.begin(), ffn.down_bias.end());
    for (std::int64_t n = 0; n < kWidth; ++n) {
      double g = ffn.gate_bias[static_cast<std::size_t>(n)];
      double u = ffn.up_bias[static_cast<std::size_t>(n)];
      for (std::int64_t h = 0; h < kHidden; ++h) {
        g += static_cast<double>(gate.at(n, h)) * x.at(t, h);
        u += static_cast<double>(up.at(n, h)) * x.at(t, h);
      }
      clamped += (g > 7) + (std::abs(u) > 7);
      g = std::min(g, 7.0);
      u = std::clamp(u, -7.0, 7.0);
      inner.push_back((u + 1) * g / (1 + std::exp(-1.702 * g)));
    }
    for (std::int64_t h = 0; h < kHidden; ++h) {
      for (std::int64_t n = 0; n < kWidth; ++n) {
        expected[static_cast<std::size_t>(h)] +=
            static_cast<double>(down.at(h, n)) * inner[static_cast<std::size_t>(n)];
      }
      EXPECT_NEAR(y.at(t, h), expected[static_cast<std::size_t>(h)], 1e-4);
    }
  }
  EXPECT_GT(clamped, 100);
}

// Sums the same products in the order given by `slots` and expects equal bits.
void ExpectSummedInOrder(const Profile& profile, bool topk_order) {
  const Arithmetic arithmetic{.profile = &profile, .dither_seed = {}};
  const MoeBlock moe = RandomBlock(false);
  const Matrix x = Random(kTokens, kHidden, 4);
  const Routing routing = Route(moe.router, RouterLogits(arithmetic, moe, x), arithmetic);
  const Matrix y = RunMoe(arithmetic, moe, x, routing);
  for (std::int64_t t = 0; t < kTokens; ++t) {
    std::vector<std::size_t> slots(kTopK);
    std::iota(slots.begin(), slots.end(), std::size_t{0});
    const auto ids = routing.ids_of(t);
    if (!topk_order) {
      std::sort(slots.begin(), slots.end(), [&](auto a, auto b) { return ids[a] < ids[b]; });
    }
    std::vector<float> sum(kHidden);
    const std::int32_t row[] = {static_cast<std::int32_t>(t)};
    for (const std::size_t slot : slots) {
      const Matrix output = RunExpert(arithmetic, moe, ids[slot], x, row);
      for (std::size_t h = 0; h < sum.size(); ++h) {
        const float product = output.row(0)[h] * routing.weights_of(t)[slot];
        sum[h] += product;
      }
    }
    EXPECT_TRUE(std::equal(sum.begin(), sum.end(), y.row(t).begin())) << "token " << t;
  }
}

TEST(MoeBlock, ExpertsAreAddedInTheOrderOfTheProfile) {
  Profile profile = *Fp32Arithmetic().profile;
  profile.expert_sum_in_topk_order = false;
  ExpectSummedInOrder(profile, false);
  profile.expert_sum_in_topk_order = true;
  ExpectSummedInOrder(profile, true);
}

TEST(MoeBlock, TheFp32ReferenceAddsInExpertOrder) {
  EXPECT_FALSE(Fp32Arithmetic().profile->expert_sum_in_topk_order);
}

TEST(MoeBlock, ATokensOutputDoesNotDependOnTheOtherTokens) {
  const MoeBlock moe = RandomBlock(true);
  const Matrix x = Random(kTokens, kHidden, 5);
  const auto run = [&](const Matrix& rows) {
    const Routing routing =
        Route(moe.router, RouterLogits(Fp32Arithmetic(), moe, rows), Fp32Arithmetic());
    return RunMoe(Fp32Arithmetic(), moe, rows, routing);
  };
  const Matrix together = run(x);
  for (std::int32_t t = 0; t < kTokens; ++t) {
    const std::int32_t row[] = {t};
    const Matrix alone = run(GatherRows(x, row));
    EXPECT_TRUE(std::equal(alone.row(0).begin(), alone.row(0).end(), together.row(t).begin()));
  }
}

TEST(MoeBlock, NoTokensGiveNoOutput) {
  const MoeBlock moe = RandomBlock(true);
  Routing none;
  none.top_k = kTopK;
  const Matrix y = RunMoe(Fp32Arithmetic(), moe, Matrix(0, kHidden), none);
  EXPECT_EQ(y.rows(), 0);
  EXPECT_EQ(y.cols(), kHidden);
}

TEST(MoeBlock, WithoutASharedExpertItsPartIsZero) {
  const Matrix x = Random(2, kHidden, 6);
  const Matrix y = RunShared(Fp32Arithmetic(), RandomBlock(false), x);
  EXPECT_EQ(y.rows(), 2);
  for (const float value : y.values()) EXPECT_EQ(value, 0.0f);
}

}  // namespace
}  // namespace cacheready
