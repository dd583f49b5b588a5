// Pieces equal to those of the `tokenizers` and `tiktoken` libraries, byte for byte: most awkward
// characters are single bytes to a small vocabulary, so ids alone would hide a wrong split.
// SPDX-License-Identifier: Apache-2.0
#include "text/split_regex.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/json.h"
#include "io/mapped_file.h"
#include "text/split_patterns.h"
#include "text/tokenizer.h"

namespace cacheready {
namespace {

const std::filesystem::path kSplitGoldens =
    std::filesystem::path(CACHEREADY_SOURCE_DIR) / "goldens" / "tokenizer";

Json ReadJson(const std::string& file) {
  return ParseJson(ReadTextFile(kSplitGoldens / file), file);
}

class SplitGolden : public testing::Test {
 protected:
  SplitGolden() {
    for (const char* file : {"strings.json", "strings_more.json"}) {
      for (const Json& text : ReadJson(file)) strings_.push_back(text.get<std::string>());
    }
  }

  // `numbers_of` gives some numbers for a string; `batches` the digests of so many strings each.
  void ExpectBatches(const std::function<std::vector<std::int32_t>(const std::string&)>& numbers_of,
                     const Json& batches) const {
    const std::size_t size = strings_.size() / batches.size();
    ASSERT_EQ(size * batches.size(), strings_.size());
    for (std::size_t i = 0; i < batches.size(); ++i) {
      std::vector<std::int32_t> all;
      for (std::size_t j = i * size; j < (i + 1) * size; ++j) {
        const std::vector<std::int32_t> numbers = numbers_of(strings_[j]);
        all.push_back(static_cast<std::int32_t>(numbers.size()));
        all.insert(all.end(), numbers.begin(), numbers.end());
      }
      EXPECT_EQ(Sha256Hex(std::as_bytes(std::span(all))), batches.at(i).at("sha256"))
          << "strings from " << i * size;
    }
  }

  const Json expected_ = ReadJson("splits.json");
  std::vector<std::string> strings_;
};

TEST_F(SplitGolden, EveryPatternGivesTheLibrarysPieces) {
  std::set<std::string_view> seen;
  for (const auto& [regex, batches] : expected_.at("regex").items()) {
    const SplitPattern* pattern = FindSplitPattern(regex);
    ASSERT_NE(pattern, nullptr) << regex;
    SCOPED_TRACE(pattern->name);
    seen.insert(pattern->name);
    const SplitRegex split(*pattern);
    ExpectBatches(
        [&](const std::string& text) {
          std::vector<std::string_view> pieces;
          split.Split(text, pieces);
          std::vector<std::int32_t> sizes;
          for (const auto piece : pieces) sizes.push_back(static_cast<std::int32_t>(piece.size()));
          return sizes;
        },
        batches);
  }
  EXPECT_EQ(seen.size(), SplitPatterns().size());
}

// All bytes and all pairs of them are tokens.
TEST_F(SplitGolden, KimiSplitsAsTiktokenDoes) {
  std::string ranks;
  int rank = 0;
  const auto add = [&](const std::string& token) {
    ranks += fmt::format("{} {}\n", Base64(std::as_bytes(std::span(token))), rank++);
  };
  for (int a = 0; a < 256; ++a) add({static_cast<char>(a)});
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) add({static_cast<char>(a), static_cast<char>(b)});
  }
  const Tokenizer tokenizer = Tokenizer::ParseTiktoken(
      ranks, "ranks", R"({"tokenizer_class": "TikTokenTokenizer", "added_tokens_decoder": {}})",
      "config");
  ExpectBatches([&](const std::string& text) { return tokenizer.Encode(text); },
                expected_.at("kimi_tiktoken_pairs"));
}

}  // namespace
}  // namespace cacheready
