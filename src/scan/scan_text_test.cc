// SPDX-License-Identifier: Apache-2.0
#include "scan/scan_text.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.h"

namespace cacheready {
namespace {

Document MakeDocument(const std::string& domain, std::int32_t first_id, int tokens) {
  Document document;
  document.domain = domain;
  for (int n = 0; n < tokens; ++n) document.ids.push_back(first_id + n);
  document.sha256 = IdsSha256(document.ids);
  return document;
}

// Every id occurs once, so a token tells which document and position it came from.
std::vector<Document> TwelveDocuments() {
  std::vector<Document> documents;
  for (int d = 0; d < 12; ++d) {
    documents.push_back(MakeDocument(d % 3 == 0 ? "law" : "code", d * 10000, 400 + d));
  }
  return documents;
}

TEST(ScanText, HashesIdsAsLittleEndianWords) {
  // sha256sum of the eight bytes 01 00 00 00 ff ff ff ff.
  const std::vector<std::int32_t> ids = {1, -1};
  EXPECT_EQ(IdsSha256(ids), "b15348c8f462384c01e83b6d499c6faf3f96808f5aa07c6bab4b65b36b4445d4");
}

TEST(ScanText, PutsTheProbeBehindTheCalibrationTextAndUsesTheLastTokensOfEach) {
  const ScanText text = PrepareScanText(TwelveDocuments(), 1000, 2048, 7);
  EXPECT_EQ(text.tokens, 1000);
  EXPECT_EQ(text.batch.tokens(), 1000 + 8 * 128);
  ASSERT_EQ(text.probe_documents.size(), 8u);
  ASSERT_EQ(text.probe_rows.size(), 256u);
  for (std::size_t p = 0; p < 8; ++p) {
    const ScannedDocument& probe = text.probe_documents[p];
    EXPECT_EQ(probe.first_token, 1000 + static_cast<std::int64_t>(p) * 128);
    EXPECT_EQ(text.probe_rows[p * 32], probe.first_token + 96);
    EXPECT_EQ(text.probe_rows[p * 32 + 31], probe.first_token + 127);
  }
  EXPECT_EQ(text.batch.bounds.size(), text.documents.size() + 8 + 1);
}

TEST(ScanText, NeverCalibratesOnAProbeToken) {
  const ScanText text = PrepareScanText(TwelveDocuments(), 100000, 2048, 7);
  std::set<std::int32_t> calibration(text.batch.ids.begin(), text.batch.ids.begin() + text.tokens);
  EXPECT_EQ(static_cast<std::int64_t>(calibration.size()), text.tokens);
  for (std::int64_t t = text.tokens; t < text.batch.tokens(); ++t) {
    EXPECT_FALSE(calibration.contains(text.batch.ids[static_cast<std::size_t>(t)]));
  }
}

TEST(ScanText, TakesProbeDocumentsFromTheDomainsInTurn) {
  const ScanText text = PrepareScanText(TwelveDocuments(), 1000, 2048, 7);
  const auto law = std::count_if(text.probe_documents.begin(), text.probe_documents.end(),
                                 [](const ScannedDocument& d) { return d.domain == "law"; });
  EXPECT_EQ(law, 4);
}

TEST(ScanText, HasTheSameProbeForEverySeedSizeAndOrderOfLines) {
  std::vector<Document> reversed = TwelveDocuments();
  std::reverse(reversed.begin(), reversed.end());
  const ScanText a = PrepareScanText(TwelveDocuments(), 1000, 2048, 7);
  const ScanText b = PrepareScanText(reversed, 1500, 256, 8);
  ASSERT_EQ(a.probe_documents.size(), b.probe_documents.size());
  for (std::size_t p = 0; p < a.probe_documents.size(); ++p) {
    EXPECT_EQ(a.probe_documents[p].sha256, b.probe_documents[p].sha256);
  }
}

TEST(ScanText, DependsOnTheDocumentsAsASetOnly) {
  std::vector<Document> shuffled = TwelveDocuments();
  std::rotate(shuffled.begin(), shuffled.begin() + 5, shuffled.end());
  shuffled.push_back(shuffled[2]);
  EXPECT_EQ(PrepareScanText(TwelveDocuments(), 1000, 2048, 7).batch.ids,
            PrepareScanText(shuffled, 1000, 2048, 7).batch.ids);
}

TEST(ScanText, OfThePartsIsTheTextOfTheWholeEachWithTheWholeProbe) {
  const ScanText whole = PrepareScanText(TwelveDocuments(), 1000, 100, 7);
  EXPECT_EQ(whole.documents.size(), whole.all_documents.size());
  std::vector<std::int32_t> ids;
  for (const std::int64_t number : {1, 2, 3}) {
    const ScanText part = PrepareScanText(TwelveDocuments(), 1000, 100, 7, {number, 3});
    EXPECT_EQ(part.all_tokens, 1000);
    EXPECT_EQ(part.all_documents.size(), whole.all_documents.size());
    EXPECT_GT(part.tokens, 250);
    const auto calibration_end = part.batch.ids.begin() + part.tokens;
    ids.insert(ids.end(), part.batch.ids.begin(), calibration_end);
    EXPECT_TRUE(std::equal(calibration_end, part.batch.ids.end(),
                           whole.batch.ids.begin() + whole.tokens, whole.batch.ids.end()));
  }
  EXPECT_EQ(ids, std::vector<std::int32_t>(whole.batch.ids.begin(),
                                           whole.batch.ids.begin() + whole.tokens));
}

TEST(ScanText, CutsLongDocuments) {
  const ScanText text = PrepareScanText(TwelveDocuments(), 100000, 100, 7);
  for (const ScannedDocument& document : text.documents) EXPECT_LE(document.tokens, 100);
  EXPECT_EQ(text.documents.size(), 12u);
}

TEST(ScanText, TakesHalfOfAShortDocumentForTheProbe) {
  const ScanText text = PrepareScanText({MakeDocument("law", 0, 100)}, 1000, 2048, 7);
  ASSERT_EQ(text.probe_documents.size(), 1u);
  EXPECT_EQ(text.probe_documents[0].tokens, 50);
  EXPECT_EQ(text.tokens, 50);
  EXPECT_EQ(text.probe_rows.size(), 32u);
}

TEST(ScanText, RefusesTextTooShortForAProbe) {
  EXPECT_THROW(PrepareScanText({MakeDocument("law", 0, 63)}, 1000, 2048, 7), Error);
}

}  // namespace
}  // namespace cacheready
