// SPDX-License-Identifier: Apache-2.0
#include "text/open_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/error.h"

namespace cacheready {
namespace {

using testing::HasSubstr;

const std::filesystem::path kModels = std::filesystem::path(CACHEREADY_SOURCE_DIR) / "models";

class OpenTokenizerTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& name, const std::string& contents) const {
    std::ofstream(folder_ / name, std::ios::binary) << contents;
  }
  std::string Refusal() const {
    try {
      OpenTokenizer(folder_);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  std::filesystem::path folder_;
};

TEST_F(OpenTokenizerTest, ReadsTokenizerJson) {
  const Tokenizer tokenizer = OpenTokenizer(kModels / "reference-fp8");
  EXPECT_EQ(tokenizer.FindToken("<|im_start|>"), 1);
}

TEST_F(OpenTokenizerTest, ReadsTiktokenModelWithItsConfig) {
  const std::filesystem::path kimi =
      std::filesystem::path(CACHEREADY_SOURCE_DIR) / "goldens/tokenizer/kimi_tiktoken";
  const Tokenizer tokenizer = OpenTokenizer(kimi);
  EXPECT_EQ(tokenizer.Encode("[BOS]").size(), 1u);
  std::filesystem::copy(kimi / "tiktoken.model", folder_);
  EXPECT_THAT(Refusal(), HasSubstr((folder_ / "tokenizer_config.json").string()));
  std::filesystem::copy(kModels / "reference-fp8" / "tokenizer.json", folder_);
  EXPECT_EQ(OpenTokenizer(folder_).FindToken("[BOS]"), -1);  // tokenizer.json goes first
}

TEST_F(OpenTokenizerTest, FollowsSymlinks) {
  std::filesystem::create_symlink(kModels / "reference-fp8" / "tokenizer.json",
                                  folder_ / "tokenizer.json");
  EXPECT_EQ(OpenTokenizer(folder_).FindToken("<|im_start|>"), 1);
}

TEST_F(OpenTokenizerTest, TellsWhatToDoWithoutOne) {
  EXPECT_THAT(Refusal(),
              HasSubstr(folder_.string() + ": holds no tokenizer.json and no tiktoken.model;"));
  EXPECT_THAT(Refusal(), HasSubstr("give token ids instead of text"));
  Write("tokenizer.model", "");
  Write("vocab.json", "");
  EXPECT_THAT(Refusal(), HasSubstr("(tokenizer.model, vocab.json cannot be read)"));
}

TEST_F(OpenTokenizerTest, NamesTheFileThatIsWrong) {
  Write("tokenizer.json", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
  EXPECT_THAT(Refusal(), HasSubstr("tokenizer.json: is a Git LFS pointer"));
  Write("tokenizer.json", R"({"model": {"type": "Unigram"}})");
  EXPECT_THAT(Refusal(), HasSubstr((folder_ / "tokenizer.json").string()));
  std::filesystem::remove(folder_ / "tokenizer.json");
  std::filesystem::create_symlink(folder_ / "blob", folder_ / "tokenizer.json");
  EXPECT_THAT(Refusal(), HasSubstr("is a symbolic link to nothing"));
}

}  // namespace
}  // namespace cacheready
