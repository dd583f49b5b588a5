// SPDX-License-Identifier: Apache-2.0
#include "scan/journal.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "base/error.h"
#include "io/mapped_file.h"
#include "records/scan_record.h"
#include "scan/scan_folder.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

class ScanJournalTest : public testing::Test {
 protected:
  ScanJournalTest() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    scan_ = fs::temp_directory_path() / (std::string("scan-journal-") + info->name());
    fs::remove_all(scan_);
    fs::create_directories(scan_);
  }
  ~ScanJournalTest() override { fs::remove_all(scan_); }

  // Hidden states that name the layer they enter.
  static StreamState StateBefore(std::int64_t layer) {
    StreamState state;
    state.next_layer = layer;
    for (int v = 0; v < 2; ++v) {
      Matrix hidden(3, 2);
      for (float& value : hidden.values()) value = static_cast<float>(10 * layer + v);
      state.hidden.push_back(hidden);
    }
    return state;
  }

  void Write(const fs::path& path, const std::string& text) const { std::ofstream(path) << text; }

  // A journal with layers 0 ... layers - 1 committed; even layers have a record.
  void CommitLayers(std::int64_t layers) const {
    ScanJournal journal(scan_, "key");
    EXPECT_EQ(journal.Resume().next_layer, 0);
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      const bool has_record = layer % 2 == 0;
      if (has_record) Write(LayerRecordFile(scan_, layer), "record " + std::to_string(layer));
      journal.Commit(layer, has_record, SerializeState(StateBefore(layer + 1)));
    }
  }

  std::int64_t ResumedLayer() const {
    const StreamState state = ScanJournal(scan_, "key").Resume();
    if (state.next_layer > 0) {
      EXPECT_EQ(state.hidden.size(), 2u);
      EXPECT_EQ(state.hidden[1].at(2, 1), static_cast<float>(10 * state.next_layer + 1));
    }
    return state.next_layer;
  }

  fs::path scan_;
};

TEST_F(ScanJournalTest, StartsAtTheFirstLayer) {
  const StreamState state = ScanJournal(scan_, "key").Resume();
  EXPECT_EQ(state.next_layer, 0);
  EXPECT_TRUE(state.hidden.empty());
}

TEST_F(ScanJournalTest, ResumesAfterTheLastCommit) {
  CommitLayers(3);
  EXPECT_EQ(ResumedLayer(), 3);
}

TEST_F(ScanJournalTest, IgnoresALineThatWasCutOff) {
  CommitLayers(3);
  std::string text = ReadTextFile(scan_ / "journal");
  Write(scan_ / "journal", text.substr(0, text.size() - 1));
  EXPECT_EQ(ResumedLayer(), 2);
}

TEST_F(ScanJournalTest, FallsBackOneGenerationWhenTheLastStateIsDamaged) {
  CommitLayers(3);
  Write(scan_ / "state-0.safetensors", "damaged");
  EXPECT_EQ(ResumedLayer(), 2);
  EXPECT_EQ(ResumedLayer(), 2);  // the journal was cut back and still reads
}

TEST_F(ScanJournalTest, StartsAnewWhenARecordIsDamaged) {
  CommitLayers(3);
  Write(LayerRecordFile(scan_, 0), "something else");
  EXPECT_EQ(ResumedLayer(), 0);
}

TEST_F(ScanJournalTest, DoesNotNeedARecordThatWasNeverCommitted) {
  CommitLayers(2);
  Write(LayerRecordFile(scan_, 2), "half of a rec");
  EXPECT_EQ(ResumedLayer(), 2);
}

TEST_F(ScanJournalTest, RefusesAnotherKeySayingHowToDiscard) {
  CommitLayers(1);
  try {
    ScanJournal(scan_, "another");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("--fresh"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find(scan_.string()), std::string::npos);
  }
}

TEST_F(ScanJournalTest, LeavesOnlyTheRecordsWhenFinished) {
  CommitLayers(2);
  ScanJournal(scan_, "key").Finish();
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(scan_)) names.push_back(entry.path().filename());
  EXPECT_EQ(names, std::vector<std::string>{LayerRecordFile(scan_, 0).filename()});
}

TEST_F(ScanJournalTest, DiscardingRemovesTheFilesOfAScanOnly) {
  CommitLayers(2);
  Write(scan_ / "scan.json", "{}");
  Write(scan_ / "notes.txt", "mine");
  Write(scan_ / "model.safetensors", "mine too");
  DiscardScan(scan_);
  EXPECT_TRUE(fs::exists(scan_ / "notes.txt"));
  EXPECT_TRUE(fs::exists(scan_ / "model.safetensors"));
  EXPECT_EQ(std::distance(fs::directory_iterator(scan_), fs::directory_iterator()), 2);
}

}  // namespace
}  // namespace cacheready
