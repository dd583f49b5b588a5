// SPDX-License-Identifier: Apache-2.0
#include "scan/samples.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/random.h"

namespace cacheready {
namespace {

std::vector<ScannedDocument> Documents(const std::vector<std::int64_t>& lengths) {
  std::vector<ScannedDocument> documents;
  std::int64_t first = 0;
  for (std::size_t d = 0; d < lengths.size(); ++d) {
    documents.push_back({"sha-" + std::to_string(lengths[d]), "", first, lengths[d]});
    first += lengths[d];
  }
  return documents;
}

// Token t selects the experts (t + offset) mod 4 and (t + offset + 1) mod 4.
Routing TwoOfFour(std::int64_t tokens, std::int64_t offset = 0) {
  Routing routing;
  routing.top_k = 2;
  routing.margin.resize(static_cast<std::size_t>(tokens));
  for (std::int64_t t = 0; t < tokens; ++t) {
    routing.ids.push_back(static_cast<std::int32_t>((t + offset) % 4));
    routing.ids.push_back(static_cast<std::int32_t>((t + offset + 1) % 4));
  }
  return routing;
}

TEST(Samples, KeepTheSmallestHashesOfTheTokensThatSelectedTheExpert) {
  const TokenHashes hashes(3, 1, Documents({40, 60}));
  const Routing routing = TwoOfFour(100);
  const auto samples = SampleTokens(routing, 5, hashes, 12);
  ASSERT_EQ(samples.size(), 5u);
  for (std::int32_t e = 0; e < 4; ++e) {
    std::vector<std::int32_t> expected;
    for (std::int32_t t = 0; t < 100; ++t) {
      if (t % 4 == e || (t + 1) % 4 == e) expected.push_back(t);
    }
    std::sort(expected.begin(), expected.end(),
              [&](std::int32_t a, std::int32_t b) { return hashes.Of(e, a) < hashes.Of(e, b); });
    expected.resize(12);
    EXPECT_EQ(samples[static_cast<std::size_t>(e)], expected);
  }
  EXPECT_TRUE(samples[4].empty());
}

TEST(Samples, AreAPrefixOfLargerSamples) {
  const TokenHashes hashes(3, 1, Documents({40, 60}));
  const auto small = SampleTokens(TwoOfFour(100), 4, hashes, 5);
  const auto large = SampleTokens(TwoOfFour(100), 4, hashes, 30);
  for (std::size_t e = 0; e < 4; ++e) {
    EXPECT_TRUE(std::equal(small[e].begin(), small[e].end(), large[e].begin()));
  }
}

TEST(Samples, OfThePartsMergeIntoTheSampleOfTheWhole) {
  const auto whole_documents = Documents({40, 60});
  const TokenHashes whole(9, 2, whole_documents);
  std::vector<ScannedDocument> second = {whole_documents[1]};
  second[0].first_token = 0;
  const TokenHashes part(9, 2, second);
  for (std::int32_t t = 0; t < 60; ++t) EXPECT_EQ(part.Of(1, t), whole.Of(1, 40 + t));
}

TEST(Samples, DifferBySeedLayerAndExpert) {
  const auto documents = Documents({50});
  const TokenHashes hashes(1, 1, documents);
  EXPECT_NE(hashes.Of(0, 7), TokenHashes(2, 1, documents).Of(0, 7));
  EXPECT_NE(hashes.Of(0, 7), TokenHashes(1, 2, documents).Of(0, 7));
  EXPECT_NE(hashes.Of(0, 7), hashes.Of(1, 7));
  EXPECT_NE(hashes.Of(0, 7), hashes.Of(0, 8));
}

TEST(Samples, AreRestrictedToTheSharedSample) {
  const TokenHashes hashes(3, 1, Documents({100}));
  const std::vector<bool> shared = SharedSample(hashes, 20);
  EXPECT_EQ(std::count(shared.begin(), shared.end(), true), 20);
  std::size_t sampled = 0;
  for (const auto& tokens : SampleTokens(TwoOfFour(100), 4, hashes, 512, shared)) {
    sampled += tokens.size();
    for (const std::int32_t t : tokens) EXPECT_TRUE(shared[static_cast<std::size_t>(t)]);
  }
  EXPECT_EQ(sampled, 40u);  // each shared token selected two experts
}

TEST(Samples, OfTheSharedKindTakeEveryTokenOfAShortText) {
  const std::vector<bool> shared = SharedSample(TokenHashes(3, 1, Documents({10})), 4096);
  EXPECT_EQ(std::count(shared.begin(), shared.end(), true), 10);
}

}  // namespace
}  // namespace cacheready
