// SPDX-License-Identifier: Apache-2.0
#include "pipeline/part_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/error.h"

namespace cacheready {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Variables = std::map<std::string, std::string>;

ScanPart Choose(const std::string& part, const Variables& variables) {
  return ChoosePart(part, [&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

Variables Array(const std::string& id, const std::string& min, const std::string& max,
                const std::string& count) {
  return {{"SLURM_ARRAY_TASK_ID", id},
          {"SLURM_ARRAY_TASK_MIN", min},
          {"SLURM_ARRAY_TASK_MAX", max},
          {"SLURM_ARRAY_TASK_COUNT", count}};
}

Variables Join(Variables a, const Variables& b) {
  a.insert(b.begin(), b.end());
  return a;
}

const Variables kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "16"}};
const Variables kTorchrun = {{"RANK", "0"}, {"WORLD_SIZE", "4"}};
const Variables kSlurmTask = {{"SLURM_PROCID", "7"}, {"SLURM_NTASKS", "8"}};

TEST(PartChoice, TakesWhatIsGivenWhateverTheVariables) {
  EXPECT_EQ(Choose("3/16", {}), (ScanPart{3, 16}));
  EXPECT_EQ(Choose("1/1", Join(kOpenMpi, kTorchrun)), (ScanPart{1, 1}));
}

TEST(PartChoice, RefusesWhatIsNoPart) {
  for (const std::string part :
       {"", "3", "/", "3/", "/16", "0/16", "17/16", "-1/4", "+1/4", "1/4 ", " 1/4", "1.0/4",
        "1/4/2", "1/10000", "a/b", "AUTO", "1/99999999999999999999"}) {
    EXPECT_THAT([&] { Choose(part, {}); }, ThrowsMessage<Error>(HasSubstr("'" + part + "'")));
  }
}

TEST(PartChoice, ReadsTheRanksOfEachLauncher) {
  EXPECT_EQ(Choose("auto", kOpenMpi), (ScanPart{3, 16}));
  EXPECT_EQ(Choose("auto", kTorchrun), (ScanPart{1, 4}));
  EXPECT_EQ(Choose("auto", kSlurmTask), (ScanPart{8, 8}));
  EXPECT_EQ(Choose("auto", Array("0", "0", "15", "16")), (ScanPart{1, 16}));
  EXPECT_EQ(Choose("auto", Array("16", "1", "16", "16")), (ScanPart{16, 16}));
  EXPECT_EQ(Choose("auto", Join(Array("10", "4", "10", "3"), {{"SLURM_ARRAY_TASK_STEP", "3"}})),
            (ScanPart{3, 3}));
}

TEST(PartChoice, PassesOverLaunchersOfASingleProcess) {
  const Variables single = {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "1"}};
  EXPECT_EQ(Choose("auto", single), (ScanPart{1, 1}));
  EXPECT_EQ(Choose("auto", Join(single, Array("2", "1", "4", "4"))), (ScanPart{2, 4}));
  EXPECT_EQ(Choose("auto", Join(kSlurmTask, Array("5", "5", "5", "1"))), (ScanPart{8, 8}));
}

TEST(PartChoice, InsideASlurmJobTheInnerLauncherNumbersTheProcesses) {
  const Variables script = {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "16"}};
  EXPECT_EQ(Choose("auto", Join(kOpenMpi, script)), (ScanPart{3, 16}));
  // In an allocation without a task there is only the number of tasks.
  EXPECT_EQ(Choose("auto", Join(kTorchrun, {{"SLURM_NTASKS", "16"}})), (ScanPart{1, 4}));
}

TEST(PartChoice, RefusesLaunchersThatDisagree) {
  EXPECT_THAT([] { Choose("auto", Join(kOpenMpi, kTorchrun)); },
              ThrowsMessage<Error>(AllOf(HasSubstr("OMPI_COMM_WORLD_RANK=2"),
                                         HasSubstr("WORLD_SIZE=4"), HasSubstr("disagree"))));
  EXPECT_THAT([] { Choose("auto", Join(kSlurmTask, Array("1", "1", "4", "4"))); },
              ThrowsMessage<Error>(HasSubstr("disagree")));
  const Variables same = {{"RANK", "2"}, {"WORLD_SIZE", "16"}};
  EXPECT_EQ(Choose("auto", Join(kOpenMpi, same)), (ScanPart{3, 16}));
}

TEST(PartChoice, RefusesMalformedVariablesNamingThem) {
  const auto refused = [](const Variables& variables, const std::string& words) {
    EXPECT_THAT([&] { Choose("auto", variables); }, ThrowsMessage<Error>(HasSubstr(words)));
  };
  refused({}, "no launcher's variables");
  refused({{"WORLD_SIZE", "4"}}, "no launcher's variables");
  refused({{"RANK", "1"}}, "WORLD_SIZE is not set");
  refused({{"RANK", "one"}, {"WORLD_SIZE", "4"}}, "RANK is 'one'");
  refused({{"RANK", "-1"}, {"WORLD_SIZE", "4"}}, "RANK is '-1'");
  refused({{"RANK", "4"}, {"WORLD_SIZE", "4"}}, "RANK=4, WORLD_SIZE=4");
  refused({{"RANK", "0"}, {"WORLD_SIZE", "0"}}, "RANK=0, WORLD_SIZE=0");
  refused({{"RANK", "0"}, {"WORLD_SIZE", "10000"}}, "WORLD_SIZE=10000");
  refused({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", ""}},
          "OMPI_COMM_WORLD_SIZE is ''");
  refused({{"SLURM_ARRAY_TASK_ID", "3"}}, "SLURM_ARRAY_TASK_MIN is not set");
  refused(Array("7", "1", "7", "3"), "equal steps");  // --array=1,3,7
  refused(Array("0", "1", "4", "4"), "equal steps");
}

}  // namespace
}  // namespace cacheready
