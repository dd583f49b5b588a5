// Every family against what transformers computes with tiny checkpoints of it: goldens/families/
// FAMILY, and FAMILY-SWITCH for the switches of its config (tools/make_family_goldens.py).
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include "model/model.h"
#include "support/golden.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

const fs::path kGoldens = fs::path(CACHEREADY_SOURCE_DIR) / "goldens/families";

// One line a family: the folders it has, and what its router's outputs are called there.
struct GoldenFamily {
  std::string folder;  // up to the "-"
  std::string family;  // as the family table calls it
  std::string logits = "output0";
  std::string weights = "output1";
  std::string ids = "output2";
  std::string scattered = {};  // weights at their experts' places
};

const GoldenFamily kFamilies[] = {
    {"deepseek_v2", "deepseek_v2"},
    {"deepseek_v3", "deepseek_v3"},
    {"dots1", "dots1"},
    {"ernie4_5_moe", "ernie4_5_moe"},
    {"glm4_moe", "glm4_moe"},
    {"gpt_oss", "gpt_oss"},
    {"granitemoe", "granitemoe", "output2", "output1", "output0"},
    {"granitemoeshared", "granitemoe", "output2", "output1", "output0"},
    {"hunyuan_v1_moe", "hunyuan_v1_moe"},
    {"jamba", "jamba", "output0", "", ""},
    {"lfm2_moe", "lfm2_moe"},
    {"llama4_text", "llama4", "output1", "", "", "output0"},
    {"minimax_m2", "minimax_m2"},
    {"mixtral", "mixtral"},
    {"olmoe", "olmoe"},
    {"phimoe", "phimoe"},
    {"qwen2_moe", "qwen2_moe"},
    {"qwen3_5_moe_text", "qwen3_5_moe"},
    {"qwen3_moe", "qwen3_moe"},
    {"qwen3_next", "qwen3_next"},
};

std::string FamilyOf(const fs::path& folder) {
  const std::string name = folder.filename().string();
  return name.substr(0, name.find('-'));
}

struct FamilyCase {
  GoldenFamily names;
  fs::path folder;
};

void PrintTo(const FamilyCase& tested, std::ostream* out) { *out << tested.folder; }

std::vector<FamilyCase> Cases() {
  std::vector<FamilyCase> cases;
  for (const fs::directory_entry& entry : fs::directory_iterator(kGoldens)) {
    for (const GoldenFamily& line : kFamilies) {
      if (line.folder == FamilyOf(entry.path())) cases.push_back({line, entry.path()});
    }
  }
  std::sort(cases.begin(), cases.end(),
            [](const FamilyCase& a, const FamilyCase& b) { return a.folder < b.folder; });
  return cases;
}

class FamilyGolden : public testing::TestWithParam<FamilyCase> {};

TEST_P(FamilyGolden, AgreesWithTransformers) {
  const auto& [names, folder] = GetParam();
  EXPECT_EQ(DescribeModel(Checkpoint::Open(folder))->info().family, names.family);
  const GoldenReport report = CompareWithGolden({.checkpoint = folder,
                                                 .golden = folder / "golden.safetensors",
                                                 .logits = names.logits,
                                                 .weights = names.weights,
                                                 .ids = names.ids,
                                                 .scattered_weights = names.scattered});
  EXPECT_TRUE(report.disagreements.empty()) << Text(report);
  EXPECT_FALSE(report.compared.empty());
  EXPECT_GT(report.selections, 0);
  std::printf("%s: %s\n", folder.filename().c_str(), Summary(report).c_str());
}

std::string TestName(const testing::TestParamInfo<FamilyCase>& parameter) {
  std::string name = parameter.param.folder.filename().string();
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(All, FamilyGolden, testing::ValuesIn(Cases()), TestName);

TEST(FamilyGoldens, EveryFamilyHasOne) {
  for (const Family& family : Families()) {
    EXPECT_TRUE(std::any_of(std::begin(kFamilies), std::end(kFamilies), [&](const auto& line) {
      return line.family == family.name && fs::exists(kGoldens / line.folder);
    })) << family.name;
  }
}

TEST(FamilyGoldens, EveryFolderBelongsToALine) {
  for (const fs::directory_entry& entry : fs::directory_iterator(kGoldens)) {
    EXPECT_TRUE(std::any_of(std::begin(kFamilies), std::end(kFamilies), [&](const auto& line) {
      return line.folder == FamilyOf(entry.path());
    })) << entry.path();
  }
}

}  // namespace
}  // namespace cacheready
