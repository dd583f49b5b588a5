// Frequencies are those of transformers 5.17 (modeling_rope_utils.py) for heads of 16 columns.
// SPDX-License-Identifier: Apache-2.0
#include "model/rotary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/error_of.h"
#include "base/random.h"

namespace cacheready {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const ConfigReader RopeReader(const Json& json) { return ConfigReader(json, "config.json"); }

void ExpectFrequencies(const RotaryFrequencies& found, const std::vector<double>& inv_freq,
                       double factor) {
  ASSERT_EQ(found.inv_freq.size(), inv_freq.size());
  for (std::size_t i = 0; i < inv_freq.size(); ++i) {
    EXPECT_NEAR(found.inv_freq[i], inv_freq[i], 3e-7 * inv_freq[i]) << i;
  }
  EXPECT_NEAR(found.factor, factor, 1e-12);
}

TEST(ReadRotary, TheFactorInsideRopeParametersWins) {
  const Json json = {{"partial_rotary_factor", 0.25},
                     {"rope_parameters", {{"rope_theta", 100.0}, {"partial_rotary_factor", 0.5}}}};
  const Rotary rotary = ReadRotary(RopeReader(json), 8, {});
  EXPECT_EQ(rotary.rotary_dim, 4);
  ASSERT_EQ(rotary.frequencies.inv_freq.size(), 2u);
  EXPECT_EQ(rotary.frequencies.inv_freq[0], 1.0);
  EXPECT_FLOAT_EQ(static_cast<float>(rotary.frequencies.inv_freq[1]), 0.1f);
}

TEST(ReadRotary, FlatKeysAndTheFamilysDefaultsAreRead) {
  const Json json = {{"rope_theta", 16.0}};
  const Rotary rotary = ReadRotary(RopeReader(json), 8, {.theta = 5, .partial = 1});
  EXPECT_EQ(rotary.rotary_dim, 8);
  EXPECT_FLOAT_EQ(static_cast<float>(rotary.frequencies.inv_freq[1]), 0.5f);
}

TEST(ReadRotary, AnOddNumberOfRotatedColumnsIsRefused) {
  const Json json = {{"partial_rotary_factor", 0.375}};
  EXPECT_THROW(ReadRotary(RopeReader(json), 8, {}), Error);
}

TEST(ReadRotary, UnknownTypesAreRefused) {
  const Json xpos = {{"rope_parameters", {{"rope_type", "xpos"}}}};
  EXPECT_THAT(ErrorOf([&] { ReadRotary(RopeReader(xpos), 8, {}); }),
              AllOf(HasSubstr("rope_parameters: key 'rope_type' is \"xpos\""), HasSubstr("yarn")));
  const Json old_xpos = {{"rope_scaling", {{"type", "xpos"}}}};
  EXPECT_THROW(ReadRotary(RopeReader(old_xpos), 8, {}), Error);
}

TEST(ReadRotary, LinearScalingDividesAllFrequencies) {
  const Json json = {{"rope_theta", 1e4}, {"rope_scaling", {{"type", "linear"}, {"factor", 4.0}}}};
  ExpectFrequencies(ReadRotary(RopeReader(json), 16, {}).frequencies,
                    {0.25, 0.079056941, 0.025, 0.0079056947, 0.0024999999, 0.00079056947,
                     0.00025000001, 7.9056947e-05},
                    1);
}

TEST(ReadRotary, YarnMixesInterpolatedAndTrainedFrequencies) {
  Json json = {{"rope_parameters",
                {{"rope_type", "yarn"},
                 {"rope_theta", 1e4},
                 {"factor", 4.0},
                 {"original_max_position_embeddings", 128}}}};
  ExpectFrequencies(ReadRotary(RopeReader(json), 16, {}).frequencies,
                    {1.0, 0.23717082, 0.049999997, 0.0079056947, 0.0024999999, 0.00079056947,
                     0.00025000001, 7.9056947e-05},
                    1.138629436111989);
  json["rope_parameters"].update(
      {{"factor", 40.0}, {"mscale", 0.707}, {"mscale_all_dim", 1.0}, {"beta_fast", 16}});
  json["rope_parameters"]["beta_slow"] = 2.0;
  ExpectFrequencies(ReadRotary(RopeReader(json), 16, {}).frequencies,
                    {1.0, 0.21345372, 0.034999996, 0.00079056947, 0.00025000001, 7.9056947e-05,
                     2.4999999e-05, 7.9056945e-06},
                    0.9210423553163399);
}

TEST(ReadRotary, YarnWithoutTruncationKeepsFractionsOfColumns) {
  const Json json = {{"rope_parameters",
                      {{"rope_type", "yarn"},
                       {"rope_theta", 150000.0},
                       {"factor", 32.0},
                       {"truncate", false},
                       {"original_max_position_embeddings", 4096}}}};
  ExpectFrequencies(ReadRotary(RopeReader(json), 16, {}).frequencies,
                    {1.0, 0.225418, 0.050813273, 0.0067949593, 0.00045648392, 1.8188337e-05,
                     4.0999785e-06, 9.2420896e-07},
                    1.3465735902799727);
}

TEST(ReadRotary, TheFactorOfYarnDefaultsToTheRatioOfLengths) {
  const Json json = {{"rope_theta", 1e4},
                     {"max_position_embeddings", 512},
                     {"original_max_position_embeddings", 128},
                     {"rope_scaling", {{"rope_type", "yarn"}, {"factor", nullptr}}}};
  EXPECT_NEAR(ReadRotary(RopeReader(json), 16, {}).frequencies.factor, 1.138629436111989, 1e-12);
}

TEST(ReadRotary, Llama3DividesLongWavesOnly) {
  const Json json = {{"rope_parameters",
                      {{"rope_type", "llama3"},
                       {"rope_theta", 500000.0},
                       {"factor", 8.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0},
                       {"original_max_position_embeddings", 8192}}}};
  ExpectFrequencies(ReadRotary(RopeReader(json), 16, {}).frequencies,
                    {1.0, 0.19392276, 0.037606031, 0.0072926651, 0.00052484602, 3.4281024e-05,
                     6.6478697e-06, 1.2891732e-06},
                    1);
}

// theta alpha^(d / (d - 2)), as Hunyuan-A13B was published with.
TEST(ReadRotary, DynamicScalingNeedsAFixedAlpha) {
  Json json = {{"rope_theta", 1e4}, {"rope_scaling", {{"type", "dynamic"}, {"factor", 1.0}}}};
  EXPECT_THAT(ErrorOf([&] { ReadRotary(RopeReader(json), 16, {}); }), HasSubstr("'alpha'"));
  json["rope_scaling"]["alpha"] = 1000.0;
  const Rotary rotary = ReadRotary(RopeReader(json), 16, {});
  const double base = 1e4 * std::pow(1000.0, 16.0 / 14.0);
  for (std::size_t i = 0; i < 8; ++i) {
    const double expected = std::pow(base, -static_cast<double>(i) / 8);
    EXPECT_NEAR(rotary.frequencies.inv_freq[i], expected, 1e-7 * expected);
  }
}

Json LongRope() {
  return {{"rope_theta", 1e4},
          {"max_position_embeddings", 512},
          {"original_max_position_embeddings", 64},
          {"rope_scaling",
           {{"type", "longrope"},
            {"short_factor", {1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7}},
            {"long_factor", {2, 3, 4, 5, 6, 7, 8, 9}}}}};
}

TEST(ReadRotary, LongRopeHasFrequenciesForShortAndForLongDocuments) {
  Json json = LongRope();
  const Rotary rotary = ReadRotary(RopeReader(json), 16, {});
  EXPECT_EQ(rotary.long_above, 64);
  ExpectFrequencies(rotary.frequencies,
                    {1.0, 0.28747976, 0.083333336, 0.024325214, 0.0071428572, 0.0021081853,
                     0.00062499999, 0.00018601633},
                    1.224744871391589);
  ExpectFrequencies(rotary.long_frequencies,
                    {0.5, 0.10540925, 0.025, 0.0063245557, 0.0016666667, 0.00045175396,
                     0.00012500001, 3.5136418e-05},
                    1.224744871391589);
  json["rope_scaling"]["short_mscale"] = 1.25;
  json["rope_scaling"]["long_mscale"] = 1.5;
  EXPECT_EQ(ReadRotary(RopeReader(json), 16, {}).frequencies.factor, 1.25);
  EXPECT_EQ(ReadRotary(RopeReader(json), 16, {}).long_frequencies.factor, 1.5);
  json["rope_scaling"]["long_factor"].push_back(1);
  EXPECT_THAT(ErrorOf([&] { ReadRotary(RopeReader(json), 16, {}); }), HasSubstr("'long_factor'"));
}

TEST(RunRotary, LongRopeChoosesByTheLengthOfEachDocument) {
  Json json = LongRope();
  json["rope_scaling"]["long_mscale"] = 1.5;
  const Rotary rotary = ReadRotary(RopeReader(json), 16, {});
  Matrix x(64 + 65, 32);
  for (std::size_t n = 0; n < x.values().size(); ++n) {
    x.values()[n] = static_cast<float>(NormalAt(3, n));
  }
  const Matrix before = x;
  const std::int64_t bounds[] = {0, 64, 129};
  RunRotary(Fp32Arithmetic(), rotary, bounds, x);
  for (const std::int64_t begin : {0, 64}) {
    const RotaryFrequencies& frequencies =
        begin == 0 ? rotary.frequencies : rotary.long_frequencies;
    for (std::int64_t t = begin; t < begin + 64; ++t) {
      const double angle = static_cast<double>(t - begin) * frequencies.inv_freq[2];
      const double a = before.at(t, 18), b = before.at(t, 26);
      EXPECT_NEAR(x.at(t, 18), frequencies.factor * (a * std::cos(angle) - b * std::sin(angle)),
                  2e-6);
      EXPECT_NEAR(x.at(t, 26), frequencies.factor * (b * std::cos(angle) + a * std::sin(angle)),
                  2e-6);
    }
  }
}

}  // namespace
}  // namespace cacheready
