// SPDX-License-Identifier: Apache-2.0
#include "records/scan_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <limits>

#include "base/error.h"
#include "base/error_of.h"
#include "io/mapped_file.h"
#include "records/record_tensors.h"

namespace cacheready {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ScanRecord : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) /
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

Matrix Filled(std::int64_t rows, std::int64_t cols, float first) {
  Matrix matrix(rows, cols);
  for (float& value : matrix.values()) value = first++;
  return matrix;
}

// 3 tokens, 4 experts, hidden 2, 2 probe tokens.
LayerRecord SmallRecord() {
  LayerRecord record;
  record.layer = 5;
  record.router.weight_tensor = "gate.weight";
  record.router.weight_dtype = Dtype::kBF16;
  record.router.weight.assign(16, std::byte{7});
  record.router.selection_bias_tensor = "gate.bias";
  record.router.selection_bias.assign(16, std::byte{9});
  record.router.spec["experts"] = 4;
  record.logits = Filled(3, 4, 0);
  record.profile_logits = Filled(3, 4, 100);
  record.probe_logits = Filled(2, 4, 200);
  record.x_norm = {1, 2, 3};
  record.y_norm = {4, 5, 6};
  record.profile_change = {0.5f, 0.25f, 0.125f};
  record.samples = {{{2, 0}, {0.5f}}, {{1}, {0.25f}}, {}, {{0, 1, 2}, {1, 2, 3}}};
  record.pairs = {{0, 1, true, {1, 2}, {3, 4}, {5}, {6}, {7, 8}},
                  {1, 3, false, {}, {}, {9}, {10}, {11, 12}}};
  record.nearest = {1, 0, -1, 1};
  record.nearest_distance = {0.5f, 0.5f, 0, 1};
  record.decoys = {{3, {1, 2}, {2, 4}}};
  record.ranked_per_token = 2;
  record.x = Filled(3, 2, 300);
  record.ranked = {0, 1, 2, 3, 1, 0};
  for (int i = 0; i < 18; ++i) record.gram.push_back(1.0 / (1 + i));
  return record;
}

TEST_F(ScanRecord, ReadsALayerRecordBackExactly) {
  const LayerRecord written = SmallRecord();
  WriteLayerRecord(folder_, written);
  const LayerRecord read = ReadLayerRecord(folder_, 5);
  EXPECT_EQ(read.router.weight_tensor, "gate.weight");
  EXPECT_EQ(read.router.weight, written.router.weight);
  EXPECT_EQ(read.router.selection_bias, written.router.selection_bias);
  EXPECT_TRUE(read.router.logit_bias.empty());
  EXPECT_EQ(read.router.spec, written.router.spec);
  EXPECT_EQ(read.profile_logits.at(2, 3), 111);
  EXPECT_EQ(read.probe_logits.rows(), 2);
  EXPECT_EQ(read.profile_change, written.profile_change);
  ASSERT_EQ(read.samples.size(), 4u);
  EXPECT_THAT(read.samples[0].tokens, ElementsAre(2, 0));
  EXPECT_THAT(read.samples[0].noise, ElementsAre(0.5f));
  EXPECT_TRUE(read.samples[2].tokens.empty());
  ASSERT_EQ(read.pairs.size(), 2u);
  EXPECT_TRUE(read.pairs[0].candidate);
  EXPECT_FALSE(read.pairs[1].candidate);
  EXPECT_THAT(read.pairs[0].larger_norm_on_i, ElementsAre(3, 4));
  EXPECT_THAT(read.pairs[1].difference_on_j, ElementsAre(9));
  EXPECT_THAT(read.pairs[1].probe_distance, ElementsAre(11, 12));
  EXPECT_THAT(read.nearest, ElementsAre(1, 0, -1, 1));
  ASSERT_EQ(read.decoys.size(), 1u);
  EXPECT_THAT(read.decoys[0].larger_norm, ElementsAre(2, 4));
  EXPECT_EQ(read.ranked, written.ranked);
  EXPECT_EQ(read.gram, written.gram);
  EXPECT_EQ(read.x.at(2, 1), 305);
}

TEST_F(ScanRecord, LayersWithoutCandidatesCarryNoReplay) {
  LayerRecord record = SmallRecord();
  record.ranked_per_token = 0;
  record.x = Matrix();
  record.ranked.clear();
  record.gram.clear();
  WriteLayerRecord(folder_, record);
  const LayerRecord read = ReadLayerRecord(folder_, 5);
  EXPECT_TRUE(read.x.empty());
  EXPECT_TRUE(read.gram.empty());
}

TEST_F(ScanRecord, TheSameRecordGivesTheSameBytes) {
  WriteLayerRecord(folder_, SmallRecord());
  const std::string first = ReadTextFile(LayerRecordFile(folder_, 5));
  WriteLayerRecord(folder_, SmallRecord());
  EXPECT_EQ(first, ReadTextFile(LayerRecordFile(folder_, 5)));
}

TEST_F(ScanRecord, RefusesTheRecordOfAnotherLayer) {
  WriteLayerRecord(folder_, SmallRecord());
  std::filesystem::rename(LayerRecordFile(folder_, 5), LayerRecordFile(folder_, 6));
  EXPECT_THAT(ErrorOf([&] { ReadLayerRecord(folder_, 6); }), HasSubstr("is of layer 5"));
}

TEST_F(ScanRecord, RefusesATruncatedFile) {
  WriteLayerRecord(folder_, SmallRecord());
  const auto path = LayerRecordFile(folder_, 5);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  EXPECT_THROW(ReadLayerRecord(folder_, 5), Error);
}

TEST_F(ScanRecord, RefusesNaNs) {
  LayerRecord record = SmallRecord();
  record.profile_logits.at(1, 1) = std::numeric_limits<float>::quiet_NaN();
  WriteLayerRecord(folder_, record);
  EXPECT_THAT(ErrorOf([&] { ReadLayerRecord(folder_, 5); }), HasSubstr("'profile_logits' holds"));
}

TEST_F(ScanRecord, RefusesSampledTokensOutsideTheText) {
  LayerRecord record = SmallRecord();
  record.samples[0].tokens[0] = 3;
  WriteLayerRecord(folder_, record);
  EXPECT_THAT(ErrorOf([&] { ReadLayerRecord(folder_, 5); }), HasSubstr("'samples.tokens' holds 3"));
}

TEST_F(ScanRecord, RefusesMoreDifferencesThanSampledTokens) {
  LayerRecord record = SmallRecord();
  record.pairs[0].difference_on_j = {1, 2};
  record.pairs[0].larger_norm_on_j = {1, 2};
  WriteLayerRecord(folder_, record);
  EXPECT_THAT(ErrorOf([&] { ReadLayerRecord(folder_, 5); }), HasSubstr("pair (0, 1)"));
}

TEST_F(ScanRecord, RefusesPairsOutOfOrder) {
  LayerRecord record = SmallRecord();
  std::swap(record.pairs[0], record.pairs[1]);
  WriteLayerRecord(folder_, record);
  EXPECT_THAT(ErrorOf([&] { ReadLayerRecord(folder_, 5); }), HasSubstr("not ascending"));
}

TEST_F(ScanRecord, NamesAMissingTensor) {
  RecordTensors tensors;
  tensors.Publish(LayerRecordFile(folder_, 5),
                  R"({"schema": "cacheready.layer-record/1", "layer": 5})");
  EXPECT_THAT(ErrorOf([&] { ReadLayerRecord(folder_, 5); }),
              HasSubstr("tensor 'logits' is missing"));
}

ScanHeader SmallHeader() {
  ScanHeader header;
  header.tool_version = "1";
  header.key = "abc";
  header.profile = "fp8-w8a8";
  header.seed = 0xFFFFFFFFFFFFFFFFu;
  header.hidden = 2;
  header.layers = 6;
  header.probe_tokens = 2;
  header.moe_layers = {1, 5};
  header.options["tokens"] = 3;
  header.part = {2, 3};
  header.documents = {{"aa", "law", 0, 2}, {"bb", "", 2, 1}};
  return header;
}

TEST_F(ScanRecord, ReadsTheHeaderBack) {
  WriteScanHeader(folder_, SmallHeader());
  const ScanHeader read = ReadScanHeader(folder_);
  EXPECT_EQ(read.seed, 0xFFFFFFFFFFFFFFFFu);
  EXPECT_THAT(read.moe_layers, ElementsAre(1, 5));
  EXPECT_EQ(read.part, (ScanPart{2, 3}));
  ASSERT_EQ(read.documents.size(), 2u);
  EXPECT_EQ(read.documents[0].domain, "law");
  EXPECT_EQ(read.documents[1].first_token, 2);
  EXPECT_EQ(read.options, SmallHeader().options);
}

TEST_F(ScanRecord, RefusesAGapBetweenDocuments) {
  ScanHeader header = SmallHeader();
  header.documents[1].first_token = 3;
  WriteScanHeader(folder_, header);
  EXPECT_THAT(ErrorOf([&] { ReadScanHeader(folder_); }),
              HasSubstr("document 1 holds tokens 3 + 1"));
}

TEST_F(ScanRecord, RefusesAPartBeyondTheLast) {
  ScanHeader header = SmallHeader();
  header.part = {4, 3};
  WriteScanHeader(folder_, header);
  EXPECT_THAT(ErrorOf([&] { ReadScanHeader(folder_); }), HasSubstr("part 4 of 3"));
}

TEST_F(ScanRecord, SaysThatAFolderWithoutHeaderIsNoScan) {
  EXPECT_THAT(ErrorOf([&] { ReadScanHeader(folder_); }), HasSubstr("no finished scan"));
}

}  // namespace
}  // namespace cacheready
