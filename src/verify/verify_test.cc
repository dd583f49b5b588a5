// SPDX-License-Identifier: Apache-2.0
#include "verify/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "records/sealed_plan.h"
#include "verify/tiny_checkpoint.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

const std::string kGate0 = TensorName(0, "mlp.gate.weight");
const std::string kShard1 = "model-00001-of-00003.safetensors";
const std::string kShard2 = "model-00002-of-00003.safetensors";

// In place: rewriting a whole file would make the disk the slowest part of these tests.
void FlipBit(const fs::path& path, std::size_t offset, int bit) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  const char byte = static_cast<char>(file.get() ^ (1 << bit));
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(byte);
  ASSERT_TRUE(file.good()) << path;
}

// A source and an OUT that is right, made without the writer.
class Verify : public ::testing::Test {
 protected:
  void SetUp() override {
    source_ = MakeTinyCheckpoint(scratch_ / "source");
    plan_ = MakeTinyPlan(Checkpoint::Open(source_));
    files_ = ExpectedTree(source_, plan_);
    files_["cacheready-plan.json"] = SealPlan(WriteJson(ToJson(plan_)));
    out_ = scratch_ / "out";
    WriteTree(out_, files_);
  }

  Verification Run(const VerifyOptions& options = {}) {
    return VerifyCheckpoint(source_, out_, options);
  }
  fs::path WritePlan() {
    WriteBytes(scratch_ / "plan.json", WriteJson(ToJson(plan_)));
    return scratch_ / "plan.json";
  }

  ScratchFolder scratch_;
  fs::path source_, out_;
  Plan plan_;
  std::map<std::string, std::string> files_;
};

TEST_F(Verify, PassesWhenOnlyPlannedRowsDiffer) {
  const Verification result = Run();
  EXPECT_TRUE(result.passed) << WriteJson(ToJson(result));
  EXPECT_TRUE(result.checked_against_plan);
  EXPECT_EQ(result.tensors, 9);
  EXPECT_EQ(result.tensors_changed, 4);
  EXPECT_EQ(result.rows_changed, 2 + 2 + 1 + 1);  // the first member of each group keeps its row
  EXPECT_EQ(result.groups_identical, 2);
  EXPECT_THAT(result.left_out,
              ::testing::ElementsAre(".git/HEAD", "original/consolidated.safetensors"));
}

TEST_F(Verify, HashesEveryFile) {
  const Verification result = Run();
  ASSERT_EQ(result.files.size(), files_.size() - 1);  // all but the plan
  const std::map<std::string, std::string> source = ReadTree(source_);
  for (const VerifiedFile& file : result.files) {
    EXPECT_EQ(file.sha256_source, Sha256Hex(source.at(file.path))) << file.path;
    EXPECT_EQ(file.sha256_out, Sha256Hex(files_.at(file.path))) << file.path;
  }
  VerifyOptions options;
  options.hash = false;
  EXPECT_EQ(Run(options).files.at(0).sha256_source, "");
}

TEST_F(Verify, FindsAFlippedBitInEveryByteOfEveryFile) {
  const Checkpoint checkpoint = Checkpoint::Open(source_);
  VerifyOptions options;
  options.plan = WritePlan();
  options.hash = false;
  for (const auto& [path, bytes] : files_) {
    const std::size_t step = path == "cacheready-plan.json" ? 7 : 1;
    for (std::size_t i = 0; i < bytes.size(); i += step) {
      FlipBit(out_ / path, i, static_cast<int>(i % 8));
      const Verification result = Run(options);
      ASSERT_FALSE(result.passed) << path << " byte " << i;
      ASSERT_EQ(result.findings.at(0).file, path) << i;
      ASSERT_EQ(result.findings.at(0).offset_bytes, i) << path;
      std::string tensor;  // the one whose range holds byte i
      for (const std::string_view name : checkpoint.TensorNames()) {
        const std::uint64_t begin = checkpoint.GetPlace(name).offset_bytes;
        const TensorView& view = checkpoint.GetTensor(name);
        if (view.file == path && begin <= i && i < begin + view.bytes.size()) tensor = name;
      }
      ASSERT_EQ(result.findings.at(0).tensor, tensor) << path << " byte " << i;
      FlipBit(out_ / path, i, static_cast<int>(i % 8));
    }
  }
  EXPECT_TRUE(Run(options).passed);
}

TEST_F(Verify, FindsEveryFlippedBitInThePlanThatOutCarries) {
  const std::string plan = files_["cacheready-plan.json"];
  for (std::size_t i = 0; i < plan.size(); i += 3) {
    FlipBit(out_ / "cacheready-plan.json", i, static_cast<int>(i % 7));
    const Verification result = Run({.plan = {}, .hash = false});
    ASSERT_FALSE(result.passed) << "byte " << i;
    ASSERT_EQ(result.findings.at(0).file, "cacheready-plan.json");
    FlipBit(out_ / "cacheready-plan.json", i, static_cast<int>(i % 7));
  }
}

TEST_F(Verify, FindsMissingExtraAndShortenedFiles) {
  fs::remove(out_ / "tokenizer.json");
  WriteBytes(out_ / "assets" / "extra.txt", "x");
  WriteBytes(out_ / "README.md", "# Ti");
  WriteBytes(out_ / "config.json", files_["config.json"] + "\n");
  const Verification result = Run();
  std::map<std::string, std::uint64_t> found;
  for (const Finding& finding : result.findings) found[finding.file] = finding.offset_bytes;
  EXPECT_EQ(found,
            (std::map<std::string, std::uint64_t>{{"README.md", 4},
                                                  {"assets/extra.txt", 0},
                                                  {"config.json", files_["config.json"].size()},
                                                  {"tokenizer.json", 0}}));
}

TEST_F(Verify, ComparesRouterCopiesOutsideTheIndexOnlyWhereOutHasThem) {
  const std::string copy = ReadBytes(source_ / "original" / "consolidated.safetensors");
  WriteBytes(out_ / "original" / "consolidated.safetensors", copy);
  EXPECT_TRUE(Run().passed);
  WriteBytes(out_ / "original" / "consolidated.safetensors", copy + "x");
  EXPECT_FALSE(Run().passed);
}

TEST_F(Verify, FailsAnyChangeWithoutAPlanAndSaysSo) {
  fs::remove(out_ / "cacheready-plan.json");
  const Verification result = Run();
  EXPECT_FALSE(result.passed);
  EXPECT_FALSE(result.checked_against_plan);
  ASSERT_EQ(result.findings.size(), 4u);  // one a changed tensor
  EXPECT_EQ(result.findings[0].tensor, kGate0);
  EXPECT_THAT(result.findings[0].message, ::testing::HasSubstr("no plan"));
}

TEST_F(Verify, PassesAnUnchangedCopyWithoutAPlan) {
  WriteTree(out_, ReadTree(source_));
  fs::remove(out_ / "cacheready-plan.json");
  const Verification result = Run();
  EXPECT_TRUE(result.passed);
  EXPECT_FALSE(result.checked_against_plan);
  EXPECT_EQ(result.tensors_changed, 0);
}

TEST_F(Verify, FindsAnUnpatchedShard) {
  WriteBytes(out_ / kShard1, ReadBytes(source_ / kShard1));
  const Verification result = Run();
  ASSERT_EQ(result.findings.size(), 2u);  // members 3 and 6 of the first group
  EXPECT_EQ(result.findings[0].tensor, kGate0);
  EXPECT_EQ(result.groups_identical, 1);
}

TEST_F(Verify, FindsAPlanForOtherWeights) {
  plan_.groups[0].tensors[0].replaced_sha256[1] = std::string(64, '0');
  plan_.groups[1].tensors[0].tensor = "model.layers.9.mlp.gate.weight";
  WriteBytes(out_ / "cacheready-plan.json", SealPlan(WriteJson(ToJson(plan_))));
  std::vector<std::string> tensors;
  for (const Finding& finding : Run().findings) tensors.push_back(finding.tensor);
  EXPECT_THAT(tensors,
              ::testing::IsSupersetOf({kGate0, std::string("model.layers.9.mlp.gate.weight")}));
}

TEST_F(Verify, FindsAPlanOfAnotherDtype) {
  plan_.groups[1].tensors[0].dtype = Dtype::kF16;
  WriteBytes(out_ / "cacheready-plan.json", SealPlan(WriteJson(ToJson(plan_))));
  const Verification result = Run();
  ASSERT_FALSE(result.passed);
  EXPECT_THAT(result.findings.at(0).message, ::testing::HasSubstr("is F16, the tensor is BF16"));
}

TEST_F(Verify, KeepsTheFirstFindingsAndCountsAll) {
  for (const auto& [path, bytes] : files_) fs::remove(out_ / path);
  const Verification result = Run({.plan = {}, .hash = true, .max_findings = 2});
  EXPECT_EQ(result.findings.size(), 2u);
  EXPECT_EQ(result.findings_total, static_cast<std::int64_t>(files_.size()) - 1);
}

TEST_F(Verify, ReadsAFileOnceThatBothSidesShare) {
  fs::remove(out_ / "model-00003-of-00003.safetensors");
  fs::create_hard_link(source_ / "model-00003-of-00003.safetensors",
                       out_ / "model-00003-of-00003.safetensors");
  const Verification result = Run();
  EXPECT_TRUE(result.passed);
  for (const VerifiedFile& file : result.files) {
    EXPECT_EQ(file.same_inode, file.path == "model-00003-of-00003.safetensors") << file.path;
  }
}

TEST_F(Verify, FindsAPlannedRowMissingFromASharedShard) {
  fs::remove(out_ / kShard2);
  fs::create_hard_link(scratch_ / "blobs/b10b", out_ / kShard2);
  EXPECT_FALSE(Run().passed);
}

TEST_F(Verify, FailsWhereTheSourceOrTheGivenPlanCannotBeRead) {
  VerifyOptions options;
  options.plan = scratch_ / "absent.json";
  EXPECT_THROW(Run(options), Error);
  EXPECT_THROW(VerifyCheckpoint(scratch_ / "absent", out_, {}), Error);
  EXPECT_THROW(VerifyCheckpoint(source_, scratch_ / "absent", {}), Error);
}

// Sampled positions of a real model's files: headers, rows, other tensors, side files.
TEST(VerifyReference, FindsFlippedBits) {
  const ScratchFolder scratch;
  const Plan plan = MakeReferencePlan(Checkpoint::Open(ReferenceFp8()));
  std::map<std::string, std::string> files = ExpectedTree(ReferenceFp8(), plan);
  files["cacheready-plan.json"] = SealPlan(WriteJson(ToJson(plan)));
  const fs::path out = scratch / "out";
  WriteTree(out, files);
  const Verification right = VerifyCheckpoint(ReferenceFp8(), out, {});
  EXPECT_TRUE(right.passed);
  EXPECT_EQ(right.rows_changed, 4 * (2 + 1));
  EXPECT_EQ(right.groups_identical, 8);
  RandomStream random(5);
  for (const auto& [path, bytes] : files) {
    for (int sample = 0; sample < 3; ++sample) {
      const std::size_t at = sample == 0 ? 0 : random.Below(bytes.size());
      FlipBit(out / path, at, 2);
      const Verification wrong = VerifyCheckpoint(ReferenceFp8(), out, {.plan = {}, .hash = false});
      ASSERT_FALSE(wrong.passed) << path << " byte " << at;
      ASSERT_EQ(wrong.findings.at(0).file, path);
      const bool is_plan = path == "cacheready-plan.json";
      ASSERT_EQ(wrong.findings[0].offset_bytes, is_plan ? 0 : at);
      FlipBit(out / path, at, 2);
    }
  }
}

}  // namespace
}  // namespace cacheready
