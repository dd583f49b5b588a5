// SPDX-License-Identifier: Apache-2.0
#include "writer/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/error.h"
#include "base/error_of.h"
#include "records/sealed_plan.h"
#include "verify/tiny_checkpoint.h"
#include "verify/verify.h"
#include "writer/file_tasks.h"
#include "writer/journal.h"
#include "writer/make_file.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kShard1 = "model-00001-of-00003.safetensors";
const std::string kShard2 = "model-00002-of-00003.safetensors";
const std::string kShard3 = "model-00003-of-00003.safetensors";

struct stat StatusOf(const fs::path& path) {
  struct stat status {};
  EXPECT_EQ(lstat(path.c_str(), &status), 0) << path;
  return status;
}

class Writer : public ::testing::Test {
 protected:
  void SetUp() override {
    source_ = MakeTinyCheckpoint(scratch_ / "source");
    out_ = scratch_ / "out";
    before_ = ReadTree(source_);
    plan_ = MakeTinyPlan(Checkpoint::Open(source_));
    patches_ = RowPatches(plan_);
    expected_ = ExpectedTree(source_, plan_);
    expected_["cacheready-plan.json"] = SealPlan(PlanText());
  }
  void TearDown() override { EXPECT_EQ(ReadTree(source_), before_) << "the source was written"; }

  std::string PlanText() const { return WriteJson(ToJson(plan_)); }
  WriteResult Write(const WriteOptions& options = {}) {
    return WriteCheckpoint(Checkpoint::Open(source_), RowPatches(plan_), PlanText(), out_, options);
  }
  std::string ErrorOfPatches(const std::vector<RowPatch>& patches) {
    return ErrorOf(
        [&] { WriteCheckpoint(Checkpoint::Open(source_), patches, PlanText(), out_, {}); });
  }
  std::string ErrorOfWrite(const WriteOptions& options = {}) {
    return ErrorOf([&] { Write(options); });
  }
  // Only the source and its blobs, OUT if it is there, nothing else.
  void ExpectNothingBesideOut() {
    for (const auto& entry : fs::directory_iterator(scratch_ / "")) {
      const std::string name = entry.path().filename();
      EXPECT_TRUE(name == "source" || name == "blobs" || name == "out") << name;
    }
  }

  ScratchFolder scratch_;
  fs::path source_, out_;
  Plan plan_;
  std::vector<RowPatch> patches_;
  std::map<std::string, std::string> before_, expected_;
};

TEST_F(Writer, ChangesExactlyThePlannedBytes) {
  const WriteResult result = Write();
  EXPECT_EQ(ReadTree(out_), expected_);
  EXPECT_THAT(result.left_out, ElementsAre(".git/", "original/consolidated.safetensors"));
  EXPECT_FALSE(result.resumed);
  EXPECT_EQ(result.files.size(), expected_.size());
  ExpectNothingBesideOut();
  EXPECT_TRUE(VerifyCheckpoint(source_, out_, {}).passed);
}

TEST_F(Writer, TellsHowEachFileWasMade) {
  const WriteResult result = Write({.link = LinkMode::kCopy});
  std::map<std::string, WrittenFile> files;
  std::uint64_t total = 0;
  for (const WrittenFile& file : result.files) {
    files[file.path] = file;
    total += file.bytes;
    EXPECT_EQ(file.bytes, expected_.at(file.path).size()) << file.path;
  }
  EXPECT_EQ(files[kShard1].method, "patched copy");
  EXPECT_EQ(files[kShard1].patched_bytes, 3u * 16 * 2);
  EXPECT_EQ(files[kShard2].patched_bytes, 3u * 4 + 2 * 16 * 2 + 2 * 4);
  EXPECT_EQ(files[kShard3].method, "copy");
  EXPECT_EQ(files["cacheready-plan.json"].method, "new");
  EXPECT_EQ(result.bytes_total, total);
  EXPECT_EQ(result.bytes_copied, total - expected_.at("cacheready-plan.json").size());
}

TEST_F(Writer, MakesEveryFileAFileOfItsOwn) {
  Write();
  for (const auto& [path, bytes] : expected_) {
    const struct stat status = StatusOf(out_ / path);
    EXPECT_TRUE(S_ISREG(status.st_mode)) << path;
    EXPECT_EQ(status.st_nlink, 1u) << path;
  }
}

TEST_F(Writer, HardLinksOnlyWhenAskedAndNeverAPatchedShard) {
  const WriteResult result = Write({.link = LinkMode::kHardlink});
  EXPECT_EQ(ReadTree(out_), expected_);
  EXPECT_EQ(StatusOf(out_ / kShard3).st_ino, StatusOf(source_ / kShard3).st_ino);
  EXPECT_NE(StatusOf(out_ / kShard1).st_ino, StatusOf(source_ / kShard1).st_ino);
  EXPECT_NE(StatusOf(out_ / kShard2).st_ino, StatusOf(scratch_ / "blobs/b10b").st_ino);
  ASSERT_EQ(result.warnings.size(), 1u);
  EXPECT_THAT(result.warnings[0], HasSubstr("hard links"));
}

TEST_F(Writer, HardLinksWhatALinkPointsTo) {
  plan_.groups.clear();
  expected_ = ExpectedTree(source_, plan_);
  Write({.link = LinkMode::kHardlink});
  EXPECT_EQ(StatusOf(out_ / kShard2).st_ino, StatusOf(scratch_ / "blobs/b10b").st_ino);
}

TEST_F(Writer, CarriesFilesOutsideTheIndexWhenAsked) {
  const WriteResult result = Write({.include_outside_index = true});
  std::map<std::string, std::string> expected = expected_;
  for (const char* path : {".git/HEAD", "original/consolidated.safetensors"}) {
    expected[path] = before_.at(path);
  }
  EXPECT_EQ(ReadTree(out_), expected);
  EXPECT_TRUE(result.left_out.empty());
}

TEST_F(Writer, WritesTheSameBytesTwice) {
  Write();
  const auto first = ReadTree(out_);
  Write({.force = true});
  EXPECT_EQ(ReadTree(out_), first);
}

TEST_F(Writer, MakesNothingInADryRun) {
  const WriteResult dry = Write({.link = LinkMode::kCopy, .dry_run = true});
  EXPECT_FALSE(fs::exists(out_));
  ExpectNothingBesideOut();
  const WriteResult wet = Write({.link = LinkMode::kCopy});
  ASSERT_EQ(dry.files.size(), wet.files.size());
  for (std::size_t i = 0; i < dry.files.size(); ++i) {
    EXPECT_EQ(dry.files[i].path, wet.files[i].path);
    EXPECT_EQ(dry.files[i].method, wet.files[i].method);
    EXPECT_EQ(dry.files[i].patched_bytes, wet.files[i].patched_bytes);
  }
  EXPECT_EQ(dry.bytes_copied, wet.bytes_copied);
  EXPECT_EQ(dry.left_out, wet.left_out);
}

TEST_F(Writer, RefusesRowsOfOtherWeights) {
  std::vector<RowPatch> patches = RowPatches(plan_);
  patches[1].replaced_sha256 = std::string(64, 'a');
  EXPECT_THAT(ErrorOfPatches(patches), HasSubstr("other weights"));
  patches = RowPatches(plan_);
  patches[0].tensor = "model.layers.7.mlp.gate.weight";
  EXPECT_THAT(ErrorOfPatches(patches), HasSubstr("no tensor"));
  patches = RowPatches(plan_);
  patches[0].row = 8;
  EXPECT_THAT(ErrorOfPatches(patches), HasSubstr("no row 8"));
  patches = RowPatches(plan_);
  patches[0].bytes.resize(3);
  EXPECT_THAT(ErrorOfPatches(patches), HasSubstr("has 3"));
  patches = RowPatches(plan_);
  patches[0].dtype = Dtype::kF16;
  EXPECT_THAT(ErrorOfPatches(patches), HasSubstr("as F16"));
  patches = RowPatches(plan_);
  patches.push_back(patches[0]);
  EXPECT_THAT(ErrorOfPatches(patches), HasSubstr("patched twice"));
  EXPECT_FALSE(fs::exists(out_));
  ExpectNothingBesideOut();
}

TEST_F(Writer, RefusesQuantizedGates) {
  const std::vector<RowPatch> patches = {
      {TensorName(1, "mlp.gate.quantized"), 0, std::vector<std::byte>(16), std::string(64, '0')}};
  EXPECT_THAT(ErrorOfPatches(patches), HasSubstr("F8_E4M3"));
}

TEST_F(Writer, SaysThatAPlanWasAppliedBefore) {
  Write();
  const Checkpoint applied = Checkpoint::Open(out_);
  EXPECT_THAT(ErrorOf([&] {
                WriteCheckpoint(applied, RowPatches(plan_), PlanText(), scratch_ / "again", {});
              }),
              HasSubstr("applied before"));
}

TEST_F(Writer, RefusesAnOutThatIsTheSourceOrInsideOrAroundIt) {
  for (const fs::path& out : {source_, source_ / "out", scratch_ / "", scratch_ / "blobs",
                              source_ / "../source", source_ / "assets"}) {
    out_ = out;
    EXPECT_THAT(ErrorOfWrite({.force = true}), HasSubstr("choose another output")) << out;
  }
  fs::create_directory_symlink("source", scratch_ / "alias");
  out_ = scratch_ / "alias" / "out";
  EXPECT_THAT(ErrorOfWrite({.force = true}), HasSubstr("choose another output"));
}

TEST_F(Writer, RefusesAnOutWhosePartialFolderIsTheSource) {
  fs::rename(source_, scratch_ / "x.partial");
  fs::create_directory_symlink("x.partial", source_);
  out_ = scratch_ / "x";
  EXPECT_THAT(ErrorOfWrite({.force = true}), HasSubstr("choose another output"));
}

TEST_F(Writer, RefusesANonEmptyOutWithoutForce) {
  WriteBytes(out_ / "config.json", "old");
  EXPECT_THAT(ErrorOfWrite(), HasSubstr("not empty"));
  EXPECT_THAT(ErrorOfWrite({.dry_run = true}), HasSubstr("not empty"));
  EXPECT_EQ(ReadBytes(out_ / "config.json"), "old");
  ExpectNothingBesideOut();
}

TEST_F(Writer, ReplacesAWholeOldCheckpointByForce) {
  WriteBytes(out_ / "config.json", "old");
  WriteBytes(out_ / "stale" / "file.bin", "old");
  Write({.force = true});
  EXPECT_EQ(ReadTree(out_), expected_);
  ExpectNothingBesideOut();
}

TEST_F(Writer, NeverReplacesAFolderThatIsNoCheckpoint) {
  WriteBytes(out_ / "letters.txt", "dear");
  EXPECT_THAT(ErrorOfWrite({.force = true}), HasSubstr("no checkpoint"));
  EXPECT_EQ(ReadBytes(out_ / "letters.txt"), "dear");
}

TEST_F(Writer, WritesIntoAnEmptyFolder) {
  fs::create_directory(out_);
  Write();
  EXPECT_EQ(ReadTree(out_), expected_);
}

TEST_F(Writer, RefusesFilesAndLinksInThePlaceOfOut) {
  WriteBytes(out_, "a file");
  EXPECT_THAT(ErrorOfWrite({.force = true}), HasSubstr("not a folder"));
  fs::remove(out_);
  fs::create_directory(scratch_ / "elsewhere");
  fs::create_directory_symlink("elsewhere", out_);
  EXPECT_THAT(ErrorOfWrite({.force = true}), HasSubstr("not a folder"));
  out_ = scratch_ / "absent" / "out";
  EXPECT_THAT(ErrorOfWrite(), HasSubstr("make it first"));
  fs::remove_all(scratch_ / "elsewhere");
}

TEST_F(Writer, NamesALinkToNothing) {
  fs::create_symlink("nowhere", source_ / "vocab.json");
  EXPECT_THAT(ErrorOfWrite(), HasSubstr("link to nothing"));
  fs::remove(source_ / "vocab.json");
}

TEST_F(Writer, GoesOnWithWhatIsFinishedAndMakesTheRestAgain) {
  // What a kill leaves, made by hand: OUT becomes OUT.partial again, with a journal.
  Write({.link = LinkMode::kCopy});
  const fs::path partial = out_.string() + ".partial";
  fs::rename(out_, partial);
  {
    Journal journal(partial.string() + ".journal");
    journal.Start(JobSha256(ListFileTasks(Checkpoint::Open(source_),
                                          LocateRows(Checkpoint::Open(source_), patches_),
                                          SealPlan(PlanText()), false)
                                .files));
    for (const std::string& path : {kShard1, kShard3}) {
      journal.AddFile(path, {fs::file_size(partial / path),
                             {"copy", FileXxh3(partial / path, ReadMode::kAuto)}});
    }
  }
  const auto kept = StatusOf(partial / kShard1).st_ino;
  std::string damaged = ReadBytes(partial / kShard3);
  damaged[100] ^= 1;
  WriteBytes(partial / kShard3, damaged);  // has a line, but not these bytes
  WriteBytes(partial / kShard2, "half");   // has no line
  const WriteResult result = Write({.link = LinkMode::kCopy});
  EXPECT_TRUE(result.resumed);
  EXPECT_EQ(ReadTree(out_), expected_);
  EXPECT_EQ(StatusOf(out_ / kShard1).st_ino, kept);
  ExpectNothingBesideOut();
}

TEST_F(Writer, RefusesAPartialFolderThatItDidNotMake) {
  const fs::path partial = out_.string() + ".partial";
  WriteBytes(partial / "mine.txt", "dear");
  EXPECT_THAT(ErrorOfWrite(), HasSubstr("no journal"));
  EXPECT_EQ(ReadBytes(partial / "mine.txt"), "dear");
  Write({.force = true});
  EXPECT_EQ(ReadTree(out_), expected_);
  ExpectNothingBesideOut();
}

TEST_F(Writer, RefusesAPartialFolderOfAnotherJob) {
  const fs::path partial = out_.string() + ".partial";
  Journal(partial.string() + ".journal").Start(std::string(64, '1'));
  WriteBytes(partial / kShard1, "half");
  EXPECT_THAT(ErrorOfWrite(), HasSubstr("another plan"));
  Write({.force = true});
  EXPECT_EQ(ReadTree(out_), expected_);
}

TEST_F(Writer, RefusesToWorkBesideAnotherRun) {
  const Journal other(out_.string() + ".partial.journal");
  EXPECT_THAT(ErrorOfWrite(), HasSubstr("another process"));
}

TEST_F(Writer, RefusesAJournalThatIsALinkToAFileOfTheSource) {
  fs::create_hard_link(source_ / "README.md", out_.string() + ".partial.journal");
  EXPECT_THAT(ErrorOfWrite({.force = true}), HasSubstr("not a journal"));
  fs::remove(out_.string() + ".partial.journal");
  fs::create_symlink("source/README.md", out_.string() + ".partial.journal");
  EXPECT_THAT(ErrorOfWrite({.force = true}), HasSubstr("journal cannot be opened"));
}

TEST_F(Writer, ReplacesThePlanOfASourceThatWasPatchedBefore) {
  WriteBytes(source_ / "cacheready-plan.json", "{\"old\": 1}\n");
  before_ = ReadTree(source_);
  Write();
  EXPECT_EQ(ReadTree(out_), expected_);
  out_ = scratch_ / "without";
  const WriteResult result = WriteCheckpoint(Checkpoint::Open(source_), {}, "", out_, {});
  EXPECT_FALSE(fs::exists(out_ / "cacheready-plan.json"));
  EXPECT_THAT(result.left_out, ::testing::Contains("cacheready-plan.json"));
}

TEST(WriterReference, PatchesARealModel) {
  const ScratchFolder scratch;
  const Checkpoint source = Checkpoint::Open(ReferenceFp8());
  const Plan plan = MakeReferencePlan(source);
  const std::string text = WriteJson(ToJson(plan));
  WriteCheckpoint(source, RowPatches(plan), text, scratch / "out", {});
  std::map<std::string, std::string> expected = ExpectedTree(ReferenceFp8(), plan);
  expected["cacheready-plan.json"] = SealPlan(text);
  EXPECT_EQ(ReadTree(scratch / "out"), expected);
  const Verification verification = VerifyCheckpoint(ReferenceFp8(), scratch / "out", {});
  EXPECT_TRUE(verification.passed) << WriteJson(ToJson(verification));
}

TEST(Journal, CutsOffATornLineAndKeepsTheRest) {
  const ScratchFolder scratch;
  const fs::path path = scratch / "journal";
  {
    Journal journal(path);
    journal.Start(std::string(64, 'b'));
    journal.AddFile("a b\n.txt", {3, {"patched copy", 0x1234u}});
    journal.AddFile("linked", {5, {"hard link", {}}});
  }
  const std::string whole = ReadBytes(path);
  WriteBytes(path, whole + "published 1");
  Journal journal(path);
  EXPECT_EQ(ReadBytes(path), whole);
  EXPECT_EQ(journal.job(), std::string(64, 'b'));
  ASSERT_EQ(journal.files().size(), 2u);
  EXPECT_EQ(journal.files().at("a b\n.txt").made.method, "patched copy");
  EXPECT_EQ(journal.files().at("a b\n.txt").made.xxh3, 0x1234u);
  EXPECT_FALSE(journal.files().at("linked").made.xxh3.has_value());
  EXPECT_FALSE(journal.published().has_value());
}

TEST(Journal, RefusesLinesThatAreNotItsOwn) {
  const ScratchFolder scratch;
  for (const char* text : {"hello\n", "cacheready-write-1 short\n"}) {
    WriteBytes(scratch / "journal", text);
    EXPECT_THROW(Journal(scratch / "journal"), Error) << text;
  }
}

}  // namespace
}  // namespace cacheready
