// SPDX-License-Identifier: Apache-2.0
#include "scan/candidates.h"

#include <gtest/gtest.h>

#include <cmath>

namespace cacheready {
namespace {

// Four experts of which 1 and 2 are near, 0 and 3 copies, and the rest far.
PairSums FourExperts() {
  PairSums sums(4);
  sums.Add(0, 1, 1.0, 1.0);
  sums.Add(0, 2, 1.44, 1.0);
  sums.Add(0, 3, 0.0, 1.0);
  sums.Add(1, 2, 0.01, 1.0);
  sums.Add(1, 3, 1.0, 1.0);
  sums.Add(2, 3, 1.44, 1.0);
  return sums;
}

TEST(Candidates, DistanceIsARatioOfSums) {
  PairSums sums(2);
  sums.Add(0, 1, 1.0, 2.0);
  sums.Add(0, 1, 3.0, 14.0);
  EXPECT_DOUBLE_EQ(sums.Distance(0, 1), 0.5);
  EXPECT_DOUBLE_EQ(sums.Distance(1, 0), 0.5);
  EXPECT_EQ(PairSums(2).Distance(0, 1), 0.0);
}

TEST(Candidates, NeighboursAreTheNearestWithTiesToTheLowestIndex) {
  PairSums sums = FourExperts();
  const Neighbours found = FindNeighbours(sums);
  EXPECT_EQ(found.nearest, (std::vector<std::int32_t>{3, 2, 1, 0}));
  EXPECT_FLOAT_EQ(found.distance[1], 0.1f);
  PairSums tied(3);
  tied.Add(0, 1, 1.0, 1.0);
  tied.Add(0, 2, 1.0, 1.0);
  tied.Add(1, 2, 1.0, 1.0);
  EXPECT_EQ(FindNeighbours(tied).nearest, (std::vector<std::int32_t>{1, 0, 0}));
  EXPECT_EQ(FindNeighbours(PairSums(1)).nearest, std::vector<std::int32_t>{-1});
}

TEST(Candidates, ThresholdIsTwoRenditionsOfTheQuieterExpert) {
  EXPECT_DOUBLE_EQ(PairThreshold(1.0, 0.06, 0.05), 0.05 * std::sqrt(2.0));
  EXPECT_DOUBLE_EQ(PairThreshold(0.5, 0.04, 0.05), 0.02 * std::sqrt(2.0));
}

TEST(Candidates, LieBelowThreeTimesTheThresholdOrAreCopies) {
  // 3 sqrt(2) 0.024 = 0.1018 > 0.1 > 3 sqrt(2) 0.023 = 0.0976
  const std::vector<double> loud(4, 0.024), quiet(4, 0.023), silent(4, 0.0);
  const std::vector<ExpertPair> both = {{0, 3}, {1, 2}}, copies = {{0, 3}};
  EXPECT_EQ(ChooseCandidates(FourExperts(), loud, 1.0), both);
  EXPECT_EQ(ChooseCandidates(FourExperts(), quiet, 1.0), copies);
  EXPECT_EQ(ChooseCandidates(FourExperts(), quiet, 1.1), both);
  EXPECT_EQ(ChooseCandidates(FourExperts(), silent, 1.0), copies);
}

TEST(Candidates, ExpertsWithoutOneAreMeasuredAgainstTheirNeighbourOnce) {
  const Neighbours neighbours = FindNeighbours(FourExperts());
  const std::vector<ExpertPair> copies = {{0, 3}}, rest = {{1, 2}};
  EXPECT_EQ(NeighbourPairs(neighbours, copies), rest);
  const std::vector<ExpertPair> all = {{0, 3}, {1, 2}};
  EXPECT_TRUE(NeighbourPairs(neighbours, all).empty());
}

}  // namespace
}  // namespace cacheready
