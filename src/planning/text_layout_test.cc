// SPDX-License-Identifier: Apache-2.0
#include "planning/text_layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "base/random.h"

namespace cacheready {
namespace {

// 32 documents of two domains, of 400: those with the smallest hashes, as sampling takes them.
std::vector<ScannedDocument> Sampled(std::uint64_t seed) {
  std::vector<ScannedDocument> documents;
  for (int d = 0; d < 400; ++d) {
    documents.push_back({"document " + std::to_string(d), d % 4 == 0 ? "code" : "law", 0, 10});
  }
  std::sort(documents.begin(), documents.end(), [&](const auto& a, const auto& b) {
    return HashText(seed, a.sha256) < HashText(seed, b.sha256);
  });
  documents.resize(32);
  return documents;
}

TEST(TextLayout, HalvesAreEqualInEveryDomainHoweverTheDocumentsWereSampled) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const std::vector<ScannedDocument> documents = Sampled(seed);
    const TextLayout layout = MakeTextLayout(documents, seed);
    std::array<std::array<int, 2>, 2> counts{};  // [domain][half]
    for (std::size_t d = 0; d < documents.size(); ++d) {
      ++counts[static_cast<std::size_t>(layout.domain_of[d])][layout.half_of[d]];
    }
    EXPECT_LE(std::abs(counts[0][0] - counts[0][1]), 1) << seed;
    EXPECT_LE(std::abs(counts[1][0] - counts[1][1]), 1) << seed;
  }
}

TEST(TextLayout, HalvesFollowTheSeedAndNotTheOrderOfTheDocuments) {
  std::vector<ScannedDocument> documents = Sampled(1);
  const TextLayout layout = MakeTextLayout(documents, 1);
  EXPECT_NE(MakeTextLayout(documents, 2).half_of, layout.half_of);
  std::reverse(documents.begin(), documents.end());
  std::vector<std::uint8_t> reversed = MakeTextLayout(documents, 1).half_of;
  std::reverse(reversed.begin(), reversed.end());
  EXPECT_EQ(reversed, layout.half_of);
}

}  // namespace
}  // namespace cacheready
