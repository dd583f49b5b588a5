// Everything a scan measures on expert outputs, against sums over RunExpert written out here.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "compute/sequence_ops.h"
#include "scan/decoys.h"
#include "scan/noise.h"
#include "scan/output_blocks.h"
#include "scan/pair_distances.h"
#include "scan/probe.h"
#include "scan/ranked_gram.h"
#include "scan/small_moe.h"

namespace cacheready {
namespace {

constexpr std::uint64_t kAmple = std::uint64_t{1} << 30;
constexpr std::uint64_t kTight = 24 * sizeof(float) * 7;  // seven outputs of hidden 24

std::vector<double> OutputOf(const MoeBlock& moe, std::int64_t expert, const Matrix& x,
                             std::int32_t token) {
  const std::vector<std::int32_t> row = {token};
  const Matrix f = RunExpert(Fp32Arithmetic(), moe, expert, x, row);
  return {f.values().begin(), f.values().end()};
}

double NormOf(const std::vector<double>& v) {
  double sum = 0;
  for (const double value : v) sum += value * value;
  return std::sqrt(sum);
}

double Apart(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t n = 0; n < a.size(); ++n) sum += (a[n] - b[n]) * (a[n] - b[n]);
  return std::sqrt(sum);
}

TEST(OutputBlocks, GiveEveryNeededOutputWithinTheBudget) {
  const MoeBlock moe = SmallMoe(4);
  const Matrix x = NormalMatrix(30, 24, 1, 5);
  const std::vector<std::vector<std::int32_t>> needed = {{0, 3, 9, 29}, {3, 4}, {}, {9, 10, 11}};
  std::size_t seen = 0, blocks = 0;
  ForEachOutputBlock(moe, x, needed, 3 * 24 * sizeof(float), [&](const OutputBlock& block) {
    ++blocks;
    std::size_t held = 0;
    for (std::size_t e = 0; e < needed.size(); ++e) {
      held += block.tokens[e].size();
      for (const std::int32_t t : block.tokens[e]) {
        ASSERT_TRUE(block.Covers(t));
        const std::span<const float> f = block.Output(static_cast<std::int64_t>(e), t);
        EXPECT_EQ(std::vector<double>(f.begin(), f.end()),
                  OutputOf(moe, static_cast<std::int64_t>(e), x, t));
      }
    }
    EXPECT_LE(held, 3u);
    seen += held;
  });
  EXPECT_EQ(seen, 9u);
  EXPECT_GE(blocks, 3u);
}

TEST(ProbeDistances, EqualRatiosOfSummedSquaresWhateverTheBudget) {
  const MoeBlock moe = SmallMoe(5);
  const Matrix x = NormalMatrix(40, 24, 1, 6);
  std::vector<std::int32_t> rows(20);
  std::iota(rows.begin(), rows.end(), 20);
  const PairSums ample = ProbeDistances(moe, x, rows, kAmple);
  const PairSums tight = ProbeDistances(moe, x, rows, kTight);
  for (std::int64_t i = 0; i < 5; ++i) {
    for (std::int64_t j = i + 1; j < 5; ++j) {
      double difference = 0, larger = 0;
      for (const std::int32_t t : rows) {
        const auto f_i = OutputOf(moe, i, x, t), f_j = OutputOf(moe, j, x, t);
        difference += std::pow(Apart(f_i, f_j), 2);
        larger += std::pow(std::max(NormOf(f_i), NormOf(f_j)), 2);
      }
      EXPECT_NEAR(ample.Distance(i, j), std::sqrt(difference / larger), 1e-5);
      EXPECT_EQ(ample.Distance(i, j), tight.Distance(i, j));
    }
  }
  EXPECT_EQ(ample.Distance(0, 2), 0.0);
}

TEST(ProbeDistances, ResolveDistancesThatInnerProductsCannot) {
  // Two outputs that differ by 1e-6 of their norm: |a|^2 + |b|^2 - 2ab in fp32 would be noise.
  std::vector<Matrix> outputs = {NormalMatrix(8, 4096, 1, 1), NormalMatrix(8, 4096, 1, 1)};
  for (std::int64_t t = 0; t < 8; ++t) outputs[1].at(t, 0) += 6.4e-5f;
  PairSums sums(2);
  AddTokens(outputs, 0, sums);
  EXPECT_NEAR(sums.Distance(0, 1), 1e-6, 2e-8);
}

// Samples of the first experts: every (e + 2)-th token from e on, in falling order, to see that
// order is kept.
std::vector<ExpertSample> SomeSamples(std::size_t experts, std::int32_t tokens) {
  std::vector<ExpertSample> samples(experts);
  for (std::size_t e = 0; e < experts; ++e) {
    const auto step = static_cast<std::int32_t>(e) + 2;
    for (std::int32_t t = static_cast<std::int32_t>(e); t < tokens; t += step) {
      samples[e].tokens.insert(samples[e].tokens.begin(), t);
    }
  }
  return samples;
}

void ExpectSide(const MoeBlock& moe, const Matrix& x, const PairRecord& pair,
                std::span<const std::int32_t> tokens, const std::vector<float>& difference,
                const std::vector<float>& larger_norm) {
  ASSERT_EQ(difference.size(), tokens.size());
  for (std::size_t n = 0; n < tokens.size(); ++n) {
    const auto f_i = OutputOf(moe, pair.i, x, tokens[n]), f_j = OutputOf(moe, pair.j, x, tokens[n]);
    EXPECT_FLOAT_EQ(difference[n], static_cast<float>(Apart(f_i, f_j)));
    EXPECT_FLOAT_EQ(larger_norm[n], static_cast<float>(std::max(NormOf(f_i), NormOf(f_j))));
  }
}

TEST(PairDistances, EqualThoseOfTheExpertsRunOneByOne) {
  const MoeBlock moe = SmallMoe(5);
  const Matrix x = NormalMatrix(60, 24, 1, 7);
  const std::vector<ExpertSample> samples = SomeSamples(5, 50);
  std::vector<std::int32_t> probe(10);
  std::iota(probe.begin(), probe.end(), 50);
  const std::vector<PairRequest> requests = {{{0, 2}, true, 512}, {{1, 4}, false, 6}};
  const PairSums sums = ProbeDistances(moe, x, probe, kTight);
  const std::vector<PairRecord> pairs =
      MeasurePairs(moe, x, requests, {samples, probe, &sums}, kAmple);
  ASSERT_EQ(pairs.size(), 2u);
  EXPECT_TRUE(pairs[0].candidate);
  EXPECT_FALSE(pairs[1].candidate);
  EXPECT_EQ(*std::max_element(pairs[0].difference_on_i.begin(), pairs[0].difference_on_i.end()), 0);
  for (std::size_t n = 0; n < pairs.size(); ++n) {
    const PairRecord& pair = pairs[n];
    const auto first = [&](std::int32_t expert) {
      const auto& tokens = samples[static_cast<std::size_t>(expert)].tokens;
      const auto count = std::min(tokens.size(), static_cast<std::size_t>(requests[n].tokens));
      return std::span(tokens).first(count);
    };
    ExpectSide(moe, x, pair, first(pair.i), pair.difference_on_i, pair.larger_norm_on_i);
    ExpectSide(moe, x, pair, first(pair.j), pair.difference_on_j, pair.larger_norm_on_j);
    ASSERT_EQ(pair.probe_distance.size(), probe.size());
    for (std::size_t p = 0; p < probe.size(); ++p) {
      const auto f_i = OutputOf(moe, pair.i, x, probe[p]), f_j = OutputOf(moe, pair.j, x, probe[p]);
      const double expected = Apart(f_i, f_j) / std::max(NormOf(f_i), NormOf(f_j));
      // A far pair's comes from inner products in fp32, off by about 1e-6 of the norms.
      EXPECT_NEAR(pair.probe_distance[p], expected, pair.candidate ? 1e-7 * expected : 3e-6);
    }
  }
}

// In a small part of a scan an expert may have no sample, and no partner that has one.
TEST(PairDistances, AreNoneBetweenExpertsWithoutSamples) {
  const MoeBlock moe = SmallMoe(3);
  const Matrix x = NormalMatrix(60, 24, 1, 7);
  std::vector<ExpertSample> samples = SomeSamples(3, 50);
  samples[1].tokens.clear();
  samples[2].tokens.clear();
  const std::vector<std::int32_t> probe = {50, 51};
  const PairSums sums = ProbeDistances(moe, x, probe, kAmple);
  const std::vector<PairRequest> requests = {{{0, 2}, false, 6}, {{1, 2}, false, 6}};
  const auto pairs = MeasurePairs(moe, x, requests, {samples, probe, &sums}, kAmple);
  EXPECT_EQ(pairs[0].difference_on_i.size(), 6u);
  EXPECT_TRUE(pairs[1].difference_on_i.empty());
  EXPECT_TRUE(pairs[1].difference_on_j.empty());
  EXPECT_EQ(pairs[1].probe_distance.size(), 2u);
}

TEST(PairDistances, DoNotDependOnTheMemoryBudget) {
  const MoeBlock moe = SmallMoe(5);
  const Matrix x = NormalMatrix(60, 24, 1, 7);
  const std::vector<ExpertSample> samples = SomeSamples(5, 50);
  const std::vector<std::int32_t> probe = {50, 51, 59};
  const std::vector<PairRequest> requests = {{{0, 1}, true, 512}, {{1, 4}, true, 512}};
  const auto ample = MeasurePairs(moe, x, requests, {samples, probe}, kAmple);
  const auto tight = MeasurePairs(moe, x, requests, {samples, probe}, kTight);
  for (std::size_t n = 0; n < ample.size(); ++n) {
    EXPECT_EQ(ample[n].difference_on_i, tight[n].difference_on_i);
    EXPECT_EQ(ample[n].larger_norm_on_j, tight[n].larger_norm_on_j);
    EXPECT_EQ(ample[n].probe_distance, tight[n].probe_distance);
  }
}

TEST(PackedGram, EqualsInnerProductsOneByOne) {
  const Matrix rows = NormalMatrix(19, 33, 1, 8);
  std::vector<std::span<const float>> vectors;
  for (std::int64_t r = 0; r < 19; ++r) vectors.push_back(rows.row(r));
  std::vector<double> packed(19 * 20 / 2);
  PackedGram(vectors, packed.data());
  std::size_t n = 0;
  for (std::int64_t i = 0; i < 19; ++i) {
    for (std::int64_t j = i; j < 19; ++j) EXPECT_EQ(packed[n++], Dot(rows.row(i), rows.row(j)));
  }
}

TEST(RankedGram, HoldsTheOutputsOfTheBestRankedExpertsAndTheSharedPart) {
  const MoeBlock moe = SmallMoe(6);
  const Matrix x = NormalMatrix(25, 24, 1, 9);
  LayerRecord record;
  record.logits = GatherRows(RouterLogits(Fp32Arithmetic(), moe, x),
                             std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  RecordRankedGram(moe, x, kTight, record);
  ASSERT_EQ(record.ranked_per_token, 4);
  ASSERT_EQ(record.x.rows(), 10);
  const Matrix shared = RunShared(Fp32Arithmetic(), moe, x);
  for (std::int32_t t = 0; t < 10; ++t) {
    std::vector<std::vector<double>> outputs;
    for (std::size_t n = 0; n < 4; ++n) {
      const std::int32_t e = record.ranked[static_cast<std::size_t>(t) * 4 + n];
      outputs.push_back(OutputOf(moe, e, x, t));
      // No unranked expert may have a larger logit.
      for (std::int32_t other = 0; other < 6; ++other) {
        const auto begin = record.ranked.begin() + t * 4;
        if (std::find(begin, begin + 4, other) != begin + 4) continue;
        EXPECT_LE(record.logits.at(t, other), record.logits.at(t, e));
      }
    }
    outputs.emplace_back(shared.row(t).begin(), shared.row(t).end());
    std::size_t entry = static_cast<std::size_t>(t) * 15;
    for (std::size_t i = 0; i < 5; ++i) {
      for (std::size_t j = i; j < 5; ++j) {
        const double expected =
            std::inner_product(outputs[i].begin(), outputs[i].end(), outputs[j].begin(), 0.0);
        EXPECT_DOUBLE_EQ(record.gram[entry++], expected);
      }
    }
  }
}

TEST(RenditionNoise, IsTheRelativeChangeBySeedAndProfile) {
  const MoeBlock moe = SmallMoe(3);
  const Matrix x = NormalMatrix(20, 24, 1, 10);
  const std::vector<std::int32_t> rows = {3, 1, 19};
  const NoiseSource source{&GetProfile("bf16-tp1"), 4, 2};
  const std::vector<float> noise = RenditionNoise(moe, 1, x, rows, source);
  ASSERT_EQ(noise.size(), 3u);
  for (const float nu : noise) {
    EXPECT_GT(nu, 1e-4f);  // bf16 keeps 8 bits
    EXPECT_LT(nu, 2e-2f);
  }
  EXPECT_EQ(noise, RenditionNoise(moe, 1, x, rows, source));
  const std::vector<std::int32_t> one = {1};
  EXPECT_EQ(RenditionNoise(moe, 1, x, one, source)[0], noise[1]);
}

TEST(RenditionNoise, OfFp32ServingIsWhatTheWeightsOwnGridLeaves) {
  // Stored fp32 steps are 2^-24 of a weight: nothing else may be added.
  const MoeBlock moe = SmallMoe(3);
  const Matrix x = NormalMatrix(20, 24, 1, 10);
  const std::vector<std::int32_t> rows = {0, 1, 2, 3};
  for (const float nu : RenditionNoise(moe, 1, x, rows, {&GetProfile("fp32"), 4, 2})) {
    EXPECT_LT(nu, 1e-6f);
  }
}

TEST(RenditionNoise, PerExpertIsTheRmsAndTheMedianWhereNothingWasRouted) {
  const std::vector<std::vector<float>> noise = {{3, 4}, {}, {1}, {2, 2}};
  const std::vector<double> rms = NoisePerExpert(noise);
  EXPECT_DOUBLE_EQ(rms[0], std::sqrt(12.5));
  EXPECT_DOUBLE_EQ(rms[1], 2.0);
  EXPECT_DOUBLE_EQ(rms[2], 1.0);
  EXPECT_DOUBLE_EQ(NoisePerExpert(std::vector<std::vector<float>>(2))[1], 0.0);
}

TEST(ProbeSamples, AreTheProbeRowsThatFavourTheExpert) {
  Matrix logits(8, 2);
  const std::vector<float> first = {9, 9, 5, 7, 5, 1, 8, 9};
  for (std::int64_t t = 0; t < 8; ++t) {
    logits.at(t, 0) = first[static_cast<std::size_t>(t)];
    logits.at(t, 1) = -first[static_cast<std::size_t>(t)];
  }
  const std::vector<std::int32_t> probe = {2, 3, 4, 5, 6};
  const auto samples = ProbeSamples(logits, probe, 3);
  EXPECT_EQ(samples[0], (std::vector<std::int32_t>{2, 3, 6}));  // 8, 7, and the earlier 5
  EXPECT_EQ(samples[1], (std::vector<std::int32_t>{2, 4, 5}));
  EXPECT_EQ(ProbeSamples(logits, probe, 64)[0], probe);
}

TEST(Decoys, AreMembersOfCandidatesThatTheProbeSelectsMost) {
  const std::vector<std::int64_t> selections = {10, 0, 30, 20, 40};
  std::vector<PairRecord> pairs(2);
  pairs[0].i = 0, pairs[0].j = 1, pairs[0].candidate = true;
  pairs[1].i = 2, pairs[1].j = 3, pairs[1].candidate = true;
  EXPECT_EQ(ChooseDecoyMembers(pairs, selections, 2), (std::vector<std::int32_t>{2, 3}));
  EXPECT_EQ(ChooseDecoyMembers(pairs, selections, 8), (std::vector<std::int32_t>{0, 2, 3}));
  pairs[0].candidate = pairs[1].candidate = false;
  EXPECT_EQ(ChooseDecoyMembers(pairs, selections, 2), (std::vector<std::int32_t>{2, 4}));
}

TEST(Decoys, LieAtTwiceTheThresholdOnTheProbe) {
  const MoeBlock moe = SmallMoe(3);
  const Matrix x = NormalMatrix(264, 24, 1, 11);
  std::vector<std::vector<std::int32_t>> probe(3, std::vector<std::int32_t>(64));
  for (auto& rows : probe) std::iota(rows.begin(), rows.end(), 200);
  std::vector<ExpertSample> samples(3);
  for (std::size_t e = 0; e < 2; ++e) {  // the third has none, as in an empty part
    samples[e].tokens.resize(264);
    std::iota(samples[e].tokens.begin(), samples[e].tokens.end(), 0);
  }
  const std::vector<double> noise = {0.01, 0.05, 0.1};
  const std::vector<std::int32_t> members = {0, 1, 2};
  const auto decoys = MeasureDecoys(moe, x, members,
                                    {.seed = 1,
                                     .layer = 0,
                                     .tolerance = 1.5,
                                     .noise = noise,
                                     .probe_sample = probe,
                                     .samples = samples});
  ASSERT_EQ(decoys.size(), 3u);
  for (std::size_t d = 0; d < 2; ++d) {
    EXPECT_EQ(decoys[d].expert, members[d]);
    ASSERT_EQ(decoys[d].difference.size(), 264u);
    double sum = 0;
    for (std::size_t n = 200; n < 264; ++n) {
      sum += std::pow(decoys[d].difference[n] / decoys[d].larger_norm[n], 2);
    }
    const double aim = 2 * 1.5 * std::sqrt(2.0) * noise[d];
    EXPECT_NEAR(std::sqrt(sum / 64), aim, 0.02 * aim);
  }
  EXPECT_EQ(decoys[2].expert, 2);
  EXPECT_TRUE(decoys[2].difference.empty());
}

}  // namespace
}  // namespace cacheready
