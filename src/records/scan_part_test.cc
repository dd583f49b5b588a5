// SPDX-License-Identifier: Apache-2.0
#include "records/scan_part.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"

namespace cacheready {
namespace {

std::vector<ScannedDocument> Documents(const std::vector<std::int64_t>& lengths) {
  std::vector<ScannedDocument> documents;
  std::int64_t first = 0;
  for (const std::int64_t length : lengths) {
    documents.push_back({"", "", first, length});
    first += length;
  }
  return documents;
}

std::vector<std::size_t> Counts(const std::vector<std::int64_t>& lengths, std::int64_t parts) {
  const std::vector<ScannedDocument> documents = Documents(lengths);
  std::vector<std::size_t> counts;
  std::size_t next = 0;
  std::int64_t next_token = 0;
  for (std::int64_t number = 1; number <= parts; ++number) {
    const DocumentRange range = DocumentsOfPart(documents, {number, parts});
    EXPECT_EQ(range.first, next);
    EXPECT_EQ(range.first_token, next_token);
    next = range.last;
    next_token += range.tokens;
    counts.push_back(range.last - range.first);
  }
  EXPECT_EQ(next, documents.size());
  return counts;
}

TEST(ScanPart, TakesEqualSharesOfTheTokensInOrder) {
  EXPECT_EQ(Counts({10, 10, 10, 10}, 1), (std::vector<std::size_t>{4}));
  EXPECT_EQ(Counts({10, 10, 10, 10}, 2), (std::vector<std::size_t>{2, 2}));
  // Of 40 tokens, the second quarter begins at 10: documents at 0, 5 | 10, 15 | 20 | 30.
  EXPECT_EQ(Counts({5, 5, 5, 5, 10, 10}, 4), (std::vector<std::size_t>{2, 2, 1, 1}));
}

TEST(ScanPart, IsEmptyWhereALongDocumentReachesOverItsShare) {
  EXPECT_EQ(Counts({30, 10}, 4), (std::vector<std::size_t>{1, 0, 0, 1}));
  EXPECT_EQ(Counts({}, 3), (std::vector<std::size_t>{0, 0, 0}));
}

TEST(ScanPart, KnowsItsBounds) {
  CheckPart({1, 1}, "x");
  CheckPart({9999, 9999}, "x");
  for (const ScanPart part :
       {ScanPart{0, 4}, ScanPart{5, 4}, ScanPart{-1, 4}, ScanPart{1, 0}, ScanPart{1, 10000}}) {
    EXPECT_THROW(CheckPart(part, "x"), Error);
  }
  EXPECT_EQ(PartFolder({3, 16}), "part-0003-of-0016");
}

}  // namespace
}  // namespace cacheready
