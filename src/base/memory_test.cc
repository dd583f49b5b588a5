// SPDX-License-Identifier: Apache-2.0
#include "base/memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <fstream>
#include <string>

#include "base/error.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

class MemoryLimitTest : public testing::Test {
 protected:
  MemoryLimitTest() {
    root_ = fs::path(testing::TempDir()) /
            testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(root_);
    Write("proc/meminfo", "MemTotal:       1000 kB\nMemFree:   10 kB\n");
  }
  ~MemoryLimitTest() override { fs::remove_all(root_); }
  void Write(const fs::path& file, const std::string& text) {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  fs::path root_;
};

TEST_F(MemoryLimitTest, IsTheRamWhereNoGroupLimits) {
  EXPECT_EQ(MemoryLimit(root_), 1'024'000u);
  Write("proc/self/cgroup", "0::/job\n");
  Write("sys/fs/cgroup/job/memory.max", "max\n");
  EXPECT_EQ(MemoryLimit(root_), 1'024'000u);
}

TEST_F(MemoryLimitTest, IsTheSmallestOfTheGroupsAbove) {
  Write("proc/self/cgroup", "0::/slurm/job\n");
  Write("sys/fs/cgroup/slurm/memory.max", "500000\n");
  Write("sys/fs/cgroup/slurm/job/memory.max", "max\n");
  EXPECT_EQ(MemoryLimit(root_), 500'000u);
  Write("sys/fs/cgroup/slurm/job/memory.max", "400000\n");
  EXPECT_EQ(MemoryLimit(root_), 400'000u);
}

TEST_F(MemoryLimitTest, KnowsVersionOneAndIgnoresItsUnlimited) {
  Write("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/a\n0::/\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  Write("sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes", "700000\n");
  EXPECT_EQ(MemoryLimit(root_), 700'000u);
}

// A container sees its own group as the root of the hierarchy.
TEST_F(MemoryLimitTest, KnowsTheLimitOfAContainersRoot) {
  Write("proc/self/cgroup", "0::/\n");
  Write("sys/fs/cgroup/memory.max", "300000\n");
  EXPECT_EQ(MemoryLimit(root_), 300'000u);
}

TEST(ResidentBytes, GrowsByWhatIsTouchedAndThePeakStays) {
  constexpr std::size_t kSize = std::size_t{64} << 20;
  const std::uint64_t before = ResidentBytes();
  void* memory = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  std::memset(memory, 1, kSize);
  EXPECT_GE(ResidentBytes(), before + kSize * 9 / 10);
  munmap(memory, kSize);
  EXPECT_LT(ResidentBytes(), before + kSize / 2);
  EXPECT_GE(PeakResidentBytes(), before + kSize * 9 / 10);
}

TEST(BytesLeft, RefusesWhatDoesNotFitAndNamesTheLeastThatDoes) {
  constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
  const std::uint64_t all = std::uint64_t{1} << 40;
  EXPECT_GT(BytesLeft(all, kMiB, "to copy files"), all - (std::uint64_t{1} << 36));
  std::string message;
  try {
    BytesLeft(2 * kMiB, 100 * kMiB, "to copy files");
  } catch (const Error& error) {
    message = error.what();
  }
  EXPECT_EQ(
      message.rfind("--max-memory: 2 MiB are too little to copy files, which needs at least ", 0),
      0u)
      << message;
  const std::uint64_t least = std::stoull(message.substr(message.find("least ") + 6)) * kMiB;
  EXPECT_GE(BytesLeft(least + 8 * kMiB, 100 * kMiB, "to copy files"), 100 * kMiB);
}

}  // namespace
}  // namespace cacheready
