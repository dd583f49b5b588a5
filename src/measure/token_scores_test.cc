// SPDX-License-Identifier: Apache-2.0
#include "measure/token_scores.h"

#include <gtest/gtest.h>

#include <cmath>

namespace cacheready {
namespace {

std::vector<TokenScore> Score(const std::vector<std::vector<float>>& logits, std::int32_t target) {
  const std::vector<std::span<const float>> rows(logits.begin(), logits.end());
  return ScoreToken(rows, target);
}

const float kLog3 = std::log(3.0f);

TEST(TokenScores, UniformLogitsCostTheLogarithmOfTheVocabulary) {
  EXPECT_NEAR(Score({std::vector<float>(1000, -7.5f)}, 123)[0].nll, std::log(1000.0), 1e-12);
}

TEST(TokenScores, KnownDistributionsHaveTheirLikelihoodAndDivergence) {
  // Base (1/4, 3/4), other (1/2, 1/2).
  const auto scores = Score({{0, kLog3}, {5, 5}}, 0);
  EXPECT_NEAR(scores[0].nll, std::log(4.0), 1e-7);
  EXPECT_NEAR(scores[1].nll, std::log(2.0), 1e-12);
  EXPECT_EQ(scores[0].kl, 0);
  EXPECT_NEAR(scores[1].kl, 0.25 * std::log(0.5) + 0.75 * std::log(1.5), 1e-7);
}

TEST(TokenScores, DivergenceIsOfTheBaseFromTheOther) {
  const auto scores = Score({{5, 5}, {0, kLog3}}, 0);
  EXPECT_NEAR(scores[1].kl, 0.5 * std::log(2.0) + 0.5 * std::log(0.5 / 0.75), 1e-7);
}

TEST(TokenScores, EqualLogitsDivergeByExactlyZero) {
  std::vector<float> logits;
  for (int n = 0; n < 777; ++n) logits.push_back(10 * std::sin(static_cast<float>(n)));
  EXPECT_EQ(Score({logits, logits}, 5)[1].kl, 0);
}

TEST(TokenScores, LogitsFarApartNeitherOverflowNorVanish) {
  const auto scores = Score({{1000, -1000}, {-1000, 1000}}, 0);
  EXPECT_EQ(scores[0].nll, 0);
  EXPECT_EQ(scores[1].nll, 2000);
  EXPECT_EQ(scores[1].kl, 2000);
}

TEST(TokenScores, TopTokenOfATieIsTheLowest) {
  const auto scores = Score({{1, 2, 2}, {0, 7, 0}, {0, 0, 7}}, 0);
  EXPECT_TRUE(scores[1].same_top);
  EXPECT_FALSE(scores[2].same_top);
}

}  // namespace
}  // namespace cacheready
