// SPDX-License-Identifier: Apache-2.0
#include "text/tiktoken.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/error_of.h"
#include "base/hash.h"
#include "text/tokenizer.h"

namespace cacheready {
namespace {

using Ids = std::vector<std::int32_t>;
using testing::HasSubstr;

std::string RanksRefusal(const std::string& contents) {
  return ErrorOf([&] { ParseTiktokenRanks(contents, "tiktoken.model"); });
}

Json Config(const Json& named) {
  return {{"tokenizer_class", "TikTokenTokenizer"}, {"added_tokens_decoder", named}};
}

std::string ConfigRefusal(const Json& config) {
  return ErrorOf([&] { ParseTiktokenSpecialTokens(config, 300, "tokenizer_config.json"); });
}

// Bytes 0 to 255, then the given tokens.
std::string Ranks(const std::vector<std::string>& tokens) {
  std::vector<std::string> all;
  for (int byte = 0; byte < 256; ++byte) all.emplace_back(1, static_cast<char>(byte));
  all.insert(all.end(), tokens.begin(), tokens.end());
  std::string text;
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    text += fmt::format("{} {}\n", Base64(std::as_bytes(std::span(all[rank]))), rank);
  }
  return text;
}

Tokenizer WithTokens(const std::vector<std::string>& tokens) {
  return Tokenizer::ParseTiktoken(Ranks(tokens), "tiktoken.model", Config(Json::object()).dump(),
                                  "tokenizer_config.json");
}

TEST(Tiktoken, ReadsTokensByRank) {
  EXPECT_EQ(ParseTiktokenRanks("YQ== 1\n\nYWI= 0\nAA== 2", "tiktoken.model"),
            (std::vector<std::string>{"ab", "a", std::string(1, '\0')}));
}

TEST(Tiktoken, RefusesBrokenRanks) {
  EXPECT_THAT(RanksRefusal(""), HasSubstr("tiktoken.model: holds no tokens"));
  for (const std::string line : {"YQ==", "YQ== ", "YQ== x", "YQ== -1", "YQ== 1 2",
                                 "YQ== 99999999999", "YQ==  0", "YQ== 0\r"}) {
    EXPECT_THAT(RanksRefusal(line + "\n"), HasSubstr("tiktoken.model: line 1: is 'YQ==")) << line;
  }
  EXPECT_THAT(RanksRefusal("YQ== 0\n? 1"), HasSubstr("tiktoken.model: line 2"));
  EXPECT_THAT(RanksRefusal("YQ== 0\nYg== 2"), HasSubstr("has 2 tokens and rank 2"));
  EXPECT_THAT(RanksRefusal("YQ== 0\nYg== 0"), HasSubstr("expected ranks 0 to 1, each once"));
}

TEST(Tiktoken, RefusesTokensThatCannotBeMerged) {
  EXPECT_THAT(ErrorOf([] {
                WithTokens({"ab", "ab"});
              }),
              HasSubstr("tokens 256 and 257 are the same"));
  EXPECT_THAT(ErrorOf([] { WithTokens({""}); }), HasSubstr("token 256 has 0 bytes"));
  EXPECT_THAT(ErrorOf([] { WithTokens({std::string(1025, 'a')}); }), HasSubstr("has 1025 bytes"));
  EXPECT_THAT(ErrorOf([] {
                Tokenizer::ParseTiktoken("YQ== 0", "tiktoken.model", Config(Json::object()).dump(),
                                         "tokenizer_config.json");
              }),
              HasSubstr("byte 0x00 has no token"));
}

TEST(Tiktoken, MergesNeighboursThatAreATokenTogether) {
  const Tokenizer tokenizer = WithTokens({"bc", "abcd", "cd", "xyz"});
  EXPECT_EQ(tokenizer.Encode("abcd"), Ids({257}));  // whole, though no merge leads there
  EXPECT_EQ(tokenizer.Encode("abcde"), Ids({'a', 256, 'd', 'e'}));
  EXPECT_EQ(tokenizer.Encode("acd"), Ids({'a', 258}));
  EXPECT_EQ(tokenizer.Encode("wxyz"), Ids({'w', 'x', 'y', 'z'}));
  EXPECT_EQ(tokenizer.vocab_size(), 260 + 256);
  EXPECT_EQ(tokenizer.Encode("<|reserved_token_261|>"), Ids({261}));
}

TEST(Tiktoken, NamesTheTokensBehindTheRanks) {
  const Json named = {{"300", {{"content", "[BOS]"}}}, {"555", {{"content", "[PAD]"}}}};
  const auto tokens = ParseTiktokenSpecialTokens(Config(named), 300, "tokenizer_config.json");
  ASSERT_EQ(tokens.size(), 256u);
  EXPECT_EQ(tokens[0].content, "[BOS]");
  EXPECT_EQ(tokens[1].content, "<|reserved_token_301|>");
  EXPECT_EQ(tokens[255].content, "[PAD]");
  EXPECT_EQ(tokens[255].id, 555);
}

TEST(Tiktoken, RefusesAnotherTokenizersConfig) {
  const auto with = [](const Json& token) { return Config({{"300", token}}); };
  EXPECT_THAT(ConfigRefusal({{"tokenizer_class", "QWenTokenizer"}}),
              HasSubstr("tokenizer_class 'QWenTokenizer' is not supported with tiktoken.model"));
  EXPECT_THAT(ConfigRefusal(Json::object()), HasSubstr("'tokenizer_class' is missing"));
  EXPECT_THAT(ConfigRefusal(Config(Json::array())), HasSubstr("is of type array"));
  for (const std::string id : {"299", "556", "x", "-1", ""}) {
    EXPECT_THAT(ConfigRefusal(Config({{id, {{"content", "[BOS]"}}}})),
                HasSubstr(fmt::format("id '{}', expected 300 to 555", id)));
  }
  EXPECT_THAT(ConfigRefusal(with({{"content", ""}})), HasSubstr("token 300 is empty"));
  EXPECT_THAT(ConfigRefusal(with({{"content", "x"}, {"lstrip", true}})),
              HasSubstr("lstrip true of token 300 is not supported"));
  EXPECT_THAT(ConfigRefusal(with("x")), HasSubstr("tokenizer_config.json"));
  EXPECT_THAT(ConfigRefusal(with({{"content", "<|reserved"}})),
              HasSubstr("token '<|reserved' begins token '<|reserved_token_301|>'"));
}

TEST(Tiktoken, CutsTextWhereKimiDoes) {
  const auto sizes = [](const std::string& text) {
    std::vector<std::size_t> out;
    for (const std::string_view part : CutLongText(text)) out.push_back(part.size());
    return out;
  };
  using Sizes = std::vector<std::size_t>;
  EXPECT_EQ(sizes(""), Sizes());
  EXPECT_EQ(sizes(std::string(25000, 'a')), Sizes({25000}));
  EXPECT_EQ(sizes(std::string(25001, ' ')), Sizes({25000, 1}));
  EXPECT_EQ(sizes(std::string(25000, 'a') + " " + std::string(25001, 'a')), Sizes({50001, 1}));
  std::string words;
  for (int i = 0; i < 200001; ++i) words += "a\x1C";  // a space to Python
  EXPECT_EQ(sizes(words), Sizes({400000, 2}));
}

}  // namespace
}  // namespace cacheready
