// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "verify/tiny_checkpoint.h"
#include "writer/writer.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class DeltaFile : public ::testing::Test {
 protected:
  void SetUp() override {
    source_ = MakeTinyCheckpoint(scratch_ / "source");
    plan_ = MakeTinyPlan(Checkpoint::Open(source_));
    plan_text_ = WriteJson(ToJson(plan_));
    delta_ = scratch_ / "x.delta.safetensors";
    WriteDelta(Checkpoint::Open(source_), RowPatches(plan_), plan_text_, delta_);
  }

  std::string ErrorOfRead() {
    try {
      ReadDelta(delta_);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  // Writes the delta anew with other metadata or tensors.
  void Rewrite(const std::vector<NamedTensor>& tensors,
               const std::vector<std::pair<std::string, std::string>>& metadata) {
    const std::vector<std::byte> bytes = SerializeSafetensors(tensors, metadata);
    WriteBytes(delta_, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }

  ScratchFolder scratch_;
  fs::path source_, delta_;
  Plan plan_;
  std::string plan_text_;
};

TEST_F(DeltaFile, HoldsWhatThePlanChanges) {
  const Delta delta = ReadDelta(delta_);
  const std::vector<RowPatch> patches = RowPatches(plan_);
  ASSERT_EQ(delta.apply.size(), patches.size());
  for (std::size_t i = 0; i < patches.size(); ++i) {
    EXPECT_EQ(delta.apply[i].tensor, patches[i].tensor);
    EXPECT_EQ(delta.apply[i].row, patches[i].row);
    EXPECT_EQ(delta.apply[i].bytes, patches[i].bytes);
    EXPECT_EQ(delta.apply[i].replaced_sha256, patches[i].replaced_sha256);
    EXPECT_EQ(Sha256Hex(delta.revert[i].bytes), patches[i].replaced_sha256);
    EXPECT_EQ(delta.revert[i].replaced_sha256, Sha256Hex(patches[i].bytes));
  }
  EXPECT_EQ(delta.plan_json, plan_text_);
}

TEST_F(DeltaFile, GivesTheBytesOfThePlanAndTakesThemBack) {
  const Delta delta = ReadDelta(delta_);
  const Checkpoint source = Checkpoint::Open(source_);
  CheckDeltaBase(delta, source, false);
  WriteCheckpoint(source, RowPatches(plan_), plan_text_, scratch_ / "by_plan", {});
  WriteCheckpoint(source, delta.apply, delta.plan_json, scratch_ / "by_delta", {});
  EXPECT_EQ(ReadTree(scratch_ / "by_delta"), ReadTree(scratch_ / "by_plan"));

  const Checkpoint applied = Checkpoint::Open(scratch_ / "by_delta");
  CheckDeltaBase(delta, applied, true);
  WriteCheckpoint(applied, delta.revert, "", scratch_ / "reverted", {});
  std::map<std::string, std::string> expected = ReadTree(source_);
  expected.erase(".git/HEAD");
  expected.erase("original/consolidated.safetensors");
  EXPECT_EQ(ReadTree(scratch_ / "reverted"), expected);
}

TEST_F(DeltaFile, IsTheSameFileTwice) {
  const std::string first = ReadBytes(delta_);
  WriteDelta(Checkpoint::Open(source_), RowPatches(plan_), plan_text_, delta_);
  EXPECT_EQ(ReadBytes(delta_), first);
}

TEST_F(DeltaFile, RefusesABaseWhoseGateDiffersOutsideThePatchedRows) {
  const Delta delta = ReadDelta(delta_);
  const std::string shard = "model-00001-of-00003.safetensors";
  std::string bytes = ReadBytes(source_ / shard);
  bytes.back() ^= 1;  // the last gate row of layer 0: expert 7 is in no group
  WriteBytes(source_ / shard, bytes);
  EXPECT_THROW(CheckDeltaBase(delta, Checkpoint::Open(source_), false), Error);
  EXPECT_THROW(CheckDeltaBase(delta, Checkpoint::Open(source_), true), Error);
}

// Header bytes may be flipped into another right spelling (a blank into none is not one bit), so
// every flip must either be refused or change nothing.
TEST_F(DeltaFile, FindsFlippedBits) {
  const std::string whole = ReadBytes(delta_);
  const Delta right = ReadDelta(delta_);
  for (std::size_t i = 0; i < whole.size(); i += 2) {
    std::string flipped = whole;
    flipped[i] = static_cast<char>(flipped[i] ^ (1 << (i % 7)));
    WriteBytes(delta_, flipped);
    const std::string error = ErrorOfRead();
    if (error != "no error") continue;
    const Delta read = ReadDelta(delta_);
    ASSERT_EQ(read.apply.size(), right.apply.size()) << "byte " << i;
    for (std::size_t p = 0; p < right.apply.size(); ++p) {
      ASSERT_EQ(read.apply[p].tensor, right.apply[p].tensor) << "byte " << i;
      ASSERT_EQ(read.apply[p].bytes, right.apply[p].bytes) << "byte " << i;
    }
  }
}

TEST_F(DeltaFile, RefusesASafetensorsFileThatIsNoDelta) {
  WriteBytes(delta_, ReadBytes(source_ / "model-00003-of-00003.safetensors"));
  EXPECT_THAT(ErrorOfRead(), HasSubstr("is this a delta?"));
}

TEST_F(DeltaFile, RefusesPartsThatDoNotBelongTogether) {
  const std::vector<std::byte> row(4), two_rows(8);
  const std::vector<std::int64_t> indices = {5, 2};
  const auto index_bytes = std::as_bytes(std::span(indices));
  const auto metadata = [&](const std::vector<NamedTensor>& tensors) {
    Sha256 sha;
    for (const NamedTensor& tensor : tensors) sha.Add(tensor.bytes);
    return std::vector<std::pair<std::string, std::string>>{{"format", "cacheready.delta/1"},
                                                            {"plan", ""},
                                                            {"base_sha256", "{}"},
                                                            {"patched_sha256", "{}"},
                                                            {"data_sha256", Hex(sha.Finish())}};
  };
  std::vector<NamedTensor> tensors = {{"new.gate", Dtype::kF32, {1}, row}};
  Rewrite(tensors, metadata(tensors));
  EXPECT_THAT(ErrorOfRead(), HasSubstr("'old.gate' is missing"));
  tensors = {{"new.gate", Dtype::kF32, {2}, two_rows},
             {"old.gate", Dtype::kF32, {2}, two_rows},
             {"rows.gate", Dtype::kI64, {2}, index_bytes}};
  Rewrite(tensors, metadata(tensors));
  EXPECT_THAT(ErrorOfRead(), HasSubstr("not ascending"));
  tensors[0] = {"new.gate", Dtype::kF32, {1}, row};
  Rewrite(tensors, metadata(tensors));
  EXPECT_NE(ErrorOfRead(), "no error");
  tensors = {{"gate", Dtype::kF32, {1}, row}};
  Rewrite(tensors, metadata(tensors));
  EXPECT_THAT(ErrorOfRead(), HasSubstr("holds 1 tensors"));
}

TEST_F(DeltaFile, RefusesRowsThatAreNotThoseOfThePlanInside) {
  Plan other = plan_;
  other.groups.pop_back();
  WriteDelta(Checkpoint::Open(source_), RowPatches(plan_), WriteJson(ToJson(other)), delta_);
  EXPECT_THAT(ErrorOfRead(), HasSubstr("not as in the plan"));
}

}  // namespace
}  // namespace cacheready
