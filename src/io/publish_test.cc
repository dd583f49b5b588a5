// SPDX-License-Identifier: Apache-2.0
#include "io/publish.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "base/error.h"
#include "io/mapped_file.h"

namespace cacheready {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

class PublishTest : public testing::Test {
 protected:
  PublishTest() {
    folder_ = fs::path(testing::TempDir()) /
              testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~PublishTest() override { fs::remove_all(folder_); }

  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  template <typename Action>
  static std::string MessageOf(Action action) {
    try {
      action();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  fs::path folder_;
};

TEST_F(PublishTest, MakesFoldersThatAreMissing) {
  MakeFolders(folder_ / "a" / "b" / "");
  MakeFolders(folder_ / "a");
  EXPECT_TRUE(fs::is_directory(folder_ / "a/b"));
  std::ofstream(folder_ / "file") << "x";
  EXPECT_THAT(MessageOf([&] { MakeFolders(folder_ / "file" / "c"); }),
              testing::AllOf(HasSubstr((folder_ / "file").string()), HasSubstr("cannot be made")));
}

TEST_F(PublishTest, RemovesWhatKilledCallsLeftAndNothingElse) {
  for (const char* name :
       {".plan.json.123.0.tmp", ".a.1.2.tmp", ".plan.json.tmp", "plan.json.123.0.tmp", ".123.0.tmp",
        ".plan.json.123.x.tmp", ".plan.json.123.0", ".a..0.tmp", "plan.json"}) {
    std::ofstream(folder_ / name) << "x";
  }
  fs::create_directory(folder_ / ".b.1.2.tmp");
  RemoveTemporaryFiles(folder_);
  EXPECT_THAT(Names(),
              testing::UnorderedElementsAre(".plan.json.tmp", "plan.json.123.0.tmp", ".123.0.tmp",
                                            ".plan.json.123.x.tmp", ".plan.json.123.0", ".a..0.tmp",
                                            ".b.1.2.tmp", "plan.json"));
}

TEST_F(PublishTest, WritesTheFileAndLeavesNoTemporary) {
  PublishFile(folder_ / "plan.json", "{}\n");
  EXPECT_EQ(ReadTextFile(folder_ / "plan.json"), "{}\n");
  EXPECT_THAT(Names(), ElementsAre("plan.json"));
}

TEST_F(PublishTest, ReplacesAnOldFileByANewOne) {
  PublishFile(folder_ / "a", "old and longer");
  fs::create_hard_link(folder_ / "a", folder_ / "b");
  PublishFile(folder_ / "a", "new");
  EXPECT_EQ(ReadTextFile(folder_ / "a"), "new");
  EXPECT_EQ(ReadTextFile(folder_ / "b"), "old and longer");  // never written in place
}

TEST_F(PublishTest, ReplacesASymbolicLinkAndNotWhatItNames) {
  PublishFile(folder_ / "blob", "blob");
  fs::create_symlink("blob", folder_ / "link");
  PublishFile(folder_ / "link", "new");
  EXPECT_EQ(ReadTextFile(folder_ / "blob"), "blob");
  EXPECT_FALSE(fs::is_symlink(folder_ / "link"));
}

TEST_F(PublishTest, GivesTheModeThatUmaskAllows) {
  const mode_t old = umask(027);
  PublishFile(folder_ / "a", "x");
  umask(old);
  struct stat status {};
  ASSERT_EQ(stat((folder_ / "a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0640u);
}

TEST_F(PublishTest, RefusesAFolderAndAMissingParent) {
  fs::create_directory(folder_ / "sub");
  EXPECT_THAT(MessageOf([&] { PublishFile(folder_ / "sub", "x"); }),
              HasSubstr("is not a regular file"));
  EXPECT_THAT(MessageOf([&] { PublishFile(folder_ / "absent" / "a", "x"); }),
              HasSubstr("No such file"));
  EXPECT_THAT(Names(), ElementsAre("sub"));
}

// A file size limit makes write() first short and then fail, as a full disk does.
TEST_F(PublishTest, KeepsTheOldFileAndRemovesTheTemporaryWhenWritingFails) {
  PublishFile(folder_ / "a", "old");
  struct rlimit before {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  auto* const old_handler = signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small { 4096, before.rlim_max };
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string message =
      MessageOf([&] { PublishFile(folder_ / "a", std::string(10000, 'x')); });
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, old_handler);
  EXPECT_THAT(message, HasSubstr("cannot be written"));
  EXPECT_THAT(message, HasSubstr("File too large"));
  EXPECT_EQ(ReadTextFile(folder_ / "a"), "old");
  EXPECT_THAT(Names(), ElementsAre("a"));
}

TEST_F(PublishTest, SyncsAFolderAndRefusesAFile) {
  SyncFolder(folder_);
  PublishFile(folder_ / "a", "x");
  EXPECT_THAT(MessageOf([&] { SyncFolder(folder_ / "a"); }), HasSubstr("Not a directory"));
}

TEST_F(PublishTest, LocksOutASecondHolderUntilTheFirstIsGone) {
  {
    const FolderLock first(folder_ / "lock");
    EXPECT_THAT(MessageOf([&] { const FolderLock second(folder_ / "lock"); }),
                HasSubstr("locked by another process"));
  }
  EXPECT_EQ(MessageOf([&] { const FolderLock third(folder_ / "lock"); }), "no error");
}

TEST_F(PublishTest, LocksOutAnotherProcess) {
  const FolderLock lock(folder_ / "lock");
  const pid_t child = fork();
  if (child == 0) {
    const std::string message = MessageOf([&] { const FolderLock second(folder_ / "lock"); });
    _exit(message.find("locked by another process") != std::string::npos ? 7 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

}  // namespace
}  // namespace cacheready
