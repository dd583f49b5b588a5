// Every file of tests/fuzz/corpus/<target>/ goes through its fuzzer's function.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "fuzz/targets.h"
#include "io/mapped_file.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

struct Target {
  const char* name;
  void (*function)(std::span<const std::uint8_t>);
};

class CorpusReplay : public testing::TestWithParam<Target> {};

TEST_P(CorpusReplay, RunsEveryFileOfTheCorpus) {
  const fs::path folder = fs::path(CACHEREADY_SOURCE_DIR) / "tests/fuzz/corpus" / GetParam().name;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  EXPECT_GE(files.size(), 5u) << "the corpus of " << GetParam().name << " is gone";
  for (const fs::path& path : files) {
    SCOPED_TRACE(path.string());
    const std::string text = ReadTextFile(path);
    GetParam().function({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  }
}

constexpr Target kTargets[] = {
    {"config", FuzzConfig},
    {"delta", FuzzDelta},
    {"documents", FuzzDocuments},
    {"ids", FuzzIds},
    {"layer_record", FuzzLayerRecord},
    {"plan", FuzzPlan},
    {"quantization_config", FuzzQuantizationConfig},
    {"report", FuzzReport},
    {"safetensors_header", FuzzSafetensorsHeader},
    {"scan_header", FuzzScanHeader},
    {"scan_journal", FuzzScanJournal},
    {"shard_index", FuzzShardIndex},
    {"tiktoken", FuzzTiktoken},
    {"tokenizer", FuzzTokenizer},
    {"write_journal", FuzzWriteJournal},
};

INSTANTIATE_TEST_SUITE_P(Targets, CorpusReplay, testing::ValuesIn(kTargets),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace cacheready
