// Expected frequencies and factors: ROPE_INIT_FUNCTIONS of transformers 5.17 for a head of 16
// columns and a base of 10000.
// SPDX-License-Identifier: Apache-2.0
#include "model/rotary_scaling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"

namespace cacheready {
namespace {

using ::testing::HasSubstr;

Rotary Read(const Json& parameters) {
  const Json config = {{"rope_theta", 10000.0}, {"rope_scaling", parameters}};
  return ReadRotary(ConfigReader(config, "config.json"), 16, {});
}

void ExpectFrequencies(const Rotary& rotary, const std::vector<double>& expected, double factor) {
  ASSERT_EQ(rotary.inv_freq.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(rotary.inv_freq[i], expected[i], 3e-7 * expected[i]) << i;
  }
  EXPECT_NEAR(rotary.factor, factor, 1e-12);
}

TEST(ScaleRotary, LinearDividesAllFrequencies) {
  ExpectFrequencies(
      Read({{"rope_type", "linear"}, {"factor", 4.0}}),
      {0.25, 0.07905694097280502, 0.02500000037252903, 0.007905694656074047, 0.0024999999441206455,
       0.0007905694656074047, 0.0002500000118743628, 7.905694656074047e-05},
      1.0);
}

TEST(ScaleRotary, Llama3BlendsBetweenTwoWaveLengths) {
  ExpectFrequencies(
      Read({{"rope_type", "llama3"},
            {"factor", 8.0},
            {"low_freq_factor", 1.0},
            {"high_freq_factor", 4.0},
            {"original_max_position_embeddings", 256}}),
      {1.0, 0.3162277638912201, 0.10000000149011612, 0.006613106932491064, 0.0012499999720603228,
       0.00039528473280370235, 0.0001250000059371814, 3.9528473280370235e-05},
      1.0);
}

const std::vector<double> kYarn8 = {1.0,
                                    0.24705293774604797,
                                    0.05625000223517418,
                                    0.010870330035686493,
                                    0.0012499999720603228,
                                    0.00039528473280370235,
                                    0.0001250000059371814,
                                    3.9528473280370235e-05};

TEST(ScaleRotary, YarnTakesItsFactorFromTheStretch) {
  const Json parameters = {
      {"type", "yarn"}, {"factor", 8.0}, {"original_max_position_embeddings", 256}};
  ExpectFrequencies(Read(parameters), kYarn8, 1.2079441541679836);
}

TEST(ScaleRotary, AGivenAttentionFactorWins) {
  ExpectFrequencies(Read({{"rope_type", "yarn"},
                          {"factor", 8.0},
                          {"attention_factor", 1.5},
                          {"original_max_position_embeddings", 256}}),
                    kYarn8, 1.5);
}

TEST(ScaleRotary, YarnWithMagnitudesAndAnUntruncatedRange) {
  ExpectFrequencies(
      Read({{"rope_type", "yarn"},
            {"factor", 40.0},
            {"original_max_position_embeddings", 512},
            {"beta_fast", 16.0},
            {"beta_slow", 2.0},
            {"mscale", 1.0},
            {"mscale_all_dim", 0.5},
            {"truncate", false}}),
      {1.0, 0.3162277638912201, 0.068363718688488, 0.004548108670860529, 0.0002500000118743628,
       7.905694656074047e-05, 2.499999936844688e-05, 7.905694474175107e-06},
      1.1557219901962608);
}

TEST(ScaleRotary, UnknownTypesAndMissingFactorsAreRefusedByName) {
  const auto message = [](const Json& parameters) -> std::string {
    try {
      Read(parameters);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(message({{"rope_type", "spiral"}}),
              HasSubstr("rope_scaling: key 'rope_type' is \"spiral\""));
  EXPECT_THAT(message({{"rope_type", "yarn"}}), HasSubstr("key 'factor'"));
  EXPECT_THAT(message({{"full_attention", {{"rope_type", "default"}}}}),
              HasSubstr("key 'full_attention' gives a kind of layers its own positions"));
}

}  // namespace
}  // namespace cacheready
