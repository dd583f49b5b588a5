// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <optional>

#include "base/error.h"
#include "checkpoint/checkpoint.h"

namespace cacheready {
namespace {

using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

// Sets a variable of the environment (or unsets it) until the end of the scope.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const std::optional<std::string>& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    Set(value);
  }
  ~ScopedVariable() { Set(old_); }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

  void Set(const std::optional<std::string>& value) {
    value ? setenv(name_, value->c_str(), 1) : unsetenv(name_);
  }

 private:
  const char* name_;
  std::optional<std::string> old_;
};

// A hub cache as huggingface_hub lays it out: blobs, snapshots of links, refs.
class ResolveSourceTest : public testing::Test {
 protected:
  ResolveSourceTest() {
    root_ = fs::path(testing::TempDir()) /
            testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(root_);
    repository_ = root_ / "models--org--My.Model-1";
    fs::create_directories(repository_ / "blobs");
    Write(repository_ / "blobs" / "c0ffee", R"({"model_type": "made_up"})");
  }
  ~ResolveSourceTest() override { fs::remove_all(root_); }

  static void Write(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
  }

  fs::path AddSnapshot(const std::string& commit) {
    const fs::path snapshot = repository_ / "snapshots" / commit;
    fs::create_directories(snapshot);
    fs::create_symlink("../../blobs/c0ffee", snapshot / "config.json");
    return snapshot;
  }

  std::string ErrorOf(const std::string& source) {
    try {
      ResolveSource(source);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  fs::path root_;
  fs::path repository_;
  ScopedVariable cache_{
      "HF_HUB_CACHE",
      (fs::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name())
          .string()};
  ScopedVariable home_{"HF_HOME", std::nullopt};
  ScopedVariable xdg_{"XDG_CACHE_HOME", std::nullopt};
};

TEST_F(ResolveSourceTest, TakesAFolderAsItIs) {
  const fs::path snapshot = AddSnapshot("abc");
  EXPECT_EQ(ResolveSource(snapshot.string()), snapshot);
  EXPECT_EQ(ResolveSource(root_.string()), root_);  // Open says what is missing in it
}

TEST_F(ResolveSourceTest, FindsTheSnapshotThatRefsMainNames) {
  AddSnapshot("abc");
  const fs::path main = AddSnapshot("def");
  Write(repository_ / "refs" / "main", "def\n");
  EXPECT_EQ(ResolveSource("org/My.Model-1"), main);
  EXPECT_EQ(ResolveSource(repository_.string()), main);
  EXPECT_TRUE(fs::is_regular_file(ResolveSource("org/My.Model-1") / "config.json"));
}

TEST_F(ResolveSourceTest, TakesTheOnlySnapshotWhenRefsMainDoesNotHelp) {
  const fs::path only = AddSnapshot("abc");
  EXPECT_EQ(ResolveSource("org/My.Model-1"), only);
  Write(repository_ / "refs" / "main", "gone");
  EXPECT_EQ(ResolveSource("org/My.Model-1"), only);
  Write(repository_ / "refs" / "main", "../blobs");
  EXPECT_EQ(ResolveSource("org/My.Model-1"), only);
}

TEST_F(ResolveSourceTest, RefusesToChooseBetweenSnapshots) {
  AddSnapshot("abc");
  AddSnapshot("def");
  EXPECT_THAT(ErrorOf("org/My.Model-1"), HasSubstr("there are 2: abc def"));
}

TEST_F(ResolveSourceTest, RefusesARepositoryWithoutSnapshots) {
  EXPECT_THAT(ErrorOf("org/My.Model-1"), HasSubstr("holds no snapshot"));
}

TEST_F(ResolveSourceTest, LooksWhereTheVariablesSayInTheirOrder) {
  const fs::path snapshot = AddSnapshot("abc");
  cache_.Set(std::nullopt);
  EXPECT_THAT(ErrorOf("org/My.Model-1"), HasSubstr(".cache/huggingface/hub/models--org--My.Mod"));

  fs::create_directories(root_ / "hf");
  fs::create_directory_symlink(root_, root_ / "hf" / "hub");
  home_.Set((root_ / "hf").string());
  EXPECT_EQ(fs::canonical(ResolveSource("org/My.Model-1")), fs::canonical(snapshot));

  cache_.Set((root_ / "elsewhere").string());  // stands before HF_HOME
  EXPECT_THAT(ErrorOf("org/My.Model-1"), HasSubstr("elsewhere/models--org--My.Model-1"));
}

TEST_F(ResolveSourceTest, ExpandsTheHomeFolder) {
  const ScopedVariable home("HOME", root_.string());
  const fs::path snapshot = AddSnapshot("abc");
  EXPECT_EQ(ResolveSource("~/models--org--My.Model-1"), snapshot);
}

TEST_F(ResolveSourceTest, SaysWhatItLookedAt) {
  EXPECT_THAT(ErrorOf("org/absent"),
              AllOf(HasSubstr("org/absent"), HasSubstr((root_ / "models--org--absent").string())));
  EXPECT_THAT(ErrorOf("no-such-folder"), HasSubstr("no-such-folder: no such folder"));
  EXPECT_THAT(ErrorOf("/a/b/c"), HasSubstr("/a/b/c: no such folder"));
  EXPECT_THAT(ErrorOf("../up"), HasSubstr("../up: no such folder"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("the source is empty"));
  Write(root_ / "model.safetensors", "");
  EXPECT_THAT(ErrorOf((root_ / "model.safetensors").string()), HasSubstr("is a file, expected"));
}

}  // namespace
}  // namespace cacheready
