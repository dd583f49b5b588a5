// SPDX-License-Identifier: Apache-2.0
#include "io/mapped_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "base/error.h"

namespace cacheready {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

class MappedFileTest : public testing::Test {
 protected:
  MappedFileTest() {
    folder_ = fs::path(testing::TempDir()) /
              testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~MappedFileTest() override { fs::remove_all(folder_); }

  fs::path WriteFile(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }

  static std::string Text(const MappedFile& file) {
    return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
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

TEST_F(MappedFileTest, HoldsTheBytesOfTheFile) {
  const MappedFile file(WriteFile("a", std::string("ab\0c", 4)));
  EXPECT_EQ(Text(file), std::string("ab\0c", 4));
}

TEST_F(MappedFileTest, MapsAnEmptyFileToNothing) {
  EXPECT_TRUE(MappedFile(WriteFile("empty", "")).bytes().empty());
}

TEST_F(MappedFileTest, ReadsThroughASymbolicLink) {
  WriteFile("blob", "weights");
  fs::create_symlink("blob", folder_ / "link");
  EXPECT_EQ(Text(MappedFile(folder_ / "link")), "weights");
}

TEST_F(MappedFileTest, KeepsTheBytesWhenMoved) {
  MappedFile first(WriteFile("a", "moved"));
  const std::byte* before = first.bytes().data();
  const MappedFile second(std::move(first));
  EXPECT_EQ(second.bytes().data(), before);
  EXPECT_EQ(Text(second), "moved");
}

TEST_F(MappedFileTest, RefusesWhatIsNoRegularFile) {
  const auto map = [](const fs::path& path) {
    return MessageOf([&] { const MappedFile file(path); });
  };
  EXPECT_THAT(map(folder_ / "absent"), HasSubstr("No such file"));
  EXPECT_THAT(map(folder_), HasSubstr("is not a regular file"));
  fs::create_symlink("nowhere", folder_ / "dangling");
  EXPECT_THAT(map(folder_ / "dangling"), HasSubstr("symbolic link to nothing"));
  ASSERT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(map(folder_ / "pipe"), HasSubstr("is not a regular file"));
}

TEST_F(MappedFileTest, ReadsTextUpToTheLimitAndNoFurther) {
  const fs::path path = WriteFile("text", "12345");
  EXPECT_EQ(ReadTextFile(path, 5), "12345");
  EXPECT_THAT(MessageOf([&] { ReadTextFile(path, 4); }),
              HasSubstr("has 5 bytes, expected at most 4"));
}

}  // namespace
}  // namespace cacheready
