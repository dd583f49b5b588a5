// SPDX-License-Identifier: Apache-2.0
#include "scan/samples.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <span>

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
  const auto samples = SampleTokens(routing, 5, hashes, SampleChooser(hashes, 12));
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
  const auto small = SampleTokens(TwoOfFour(100), 4, hashes, SampleChooser(hashes, 5));
  const auto large = SampleTokens(TwoOfFour(100), 4, hashes, SampleChooser(hashes, 30));
  for (std::size_t e = 0; e < 4; ++e) {
    EXPECT_TRUE(std::equal(small[e].begin(), small[e].end(), large[e].begin()));
  }
}

// Tokens of `part` moved by `first`, appended to `all`.
void AppendMoved(const std::vector<std::int32_t>& part, std::int32_t first,
                 std::vector<std::int32_t>& all) {
  for (const std::int32_t t : part) all.push_back(first + t);
}

TEST(Samples, OfThePartsMergeIntoTheSampleOfTheWhole) {
  const auto documents = Documents({40, 60});
  const TokenHashes whole(9, 2, documents);
  const TokenHashes first(9, 2, std::span(documents).first(1));
  const TokenHashes second(9, 2, std::span(documents).last(1));
  for (const std::int64_t count : {3, 12, 512}) {
    for (const std::int64_t shared : {0, 10, 30, 4096}) {
      const auto chooser = [&](const TokenHashes& hashes) {
        return shared == 0 ? SampleChooser(hashes, count) : SampleChooser(hashes, count, shared);
      };
      const auto expected = SampleTokens(TwoOfFour(100), 4, whole, chooser(whole));
      const auto from_first = SampleTokens(TwoOfFour(40), 4, first, chooser(first));
      const auto from_second = SampleTokens(TwoOfFour(60, 40), 4, second, chooser(second));
      for (std::size_t e = 0; e < 4; ++e) {
        std::vector<std::int32_t> both = from_first[e];
        AppendMoved(from_second[e], 40, both);
        EXPECT_EQ(chooser(whole).Choose(static_cast<std::int64_t>(e), both), expected[e]);
      }
    }
  }
}

TEST(Samples, DifferBySeedLayerAndExpert) {
  const auto documents = Documents({50});
  const TokenHashes hashes(1, 1, documents);
  EXPECT_NE(hashes.Of(0, 7), TokenHashes(2, 1, documents).Of(0, 7));
  EXPECT_NE(hashes.Of(0, 7), TokenHashes(1, 2, documents).Of(0, 7));
  EXPECT_NE(hashes.Of(0, 7), hashes.Of(1, 7));
  EXPECT_NE(hashes.Of(0, 7), hashes.Of(0, 8));
}

TEST(Samples, OfTheSharedKindAreTheTokensWithTheSmallestSharedHashes) {
  const TokenHashes hashes(3, 1, Documents({100}));
  std::vector<std::int32_t> order(100);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](std::int32_t a, std::int32_t b) { return hashes.Shared(a) < hashes.Shared(b); });
  order.resize(20);
  const auto samples = SampleTokens(TwoOfFour(100), 4, hashes, SampleChooser(hashes, 512, 20));
  for (std::int32_t e = 0; e < 4; ++e) {
    std::vector<std::int32_t> expected;
    for (const std::int32_t t : order) {
      if (t % 4 == e || (t + 1) % 4 == e) expected.push_back(t);
    }
    EXPECT_EQ(samples[static_cast<std::size_t>(e)], expected);
  }
}

TEST(Samples, OfTheSharedKindTakeEveryTokenOfAShortText) {
  const TokenHashes hashes(3, 1, Documents({10}));
  std::size_t sampled = 0;
  for (const auto& tokens :
       SampleTokens(TwoOfFour(10), 4, hashes, SampleChooser(hashes, 512, 4096))) {
    sampled += tokens.size();
  }
  EXPECT_EQ(sampled, 20u);  // each token selected two experts
}

}  // namespace
}  // namespace cacheready
