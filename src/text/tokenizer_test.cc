// Small cases with ids that can be read off the vocabulary, and files that must be refused.
// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "text/byte_alphabet.h"

namespace cacheready {
namespace {

using Ids = std::vector<std::int32_t>;
using testing::HasSubstr;

constexpr const char* kQwen2 =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";

Json Split(const std::string& regex) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", regex}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

Json ByteLevel(bool add_prefix_space = false, bool use_regex = false) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Json Added(std::int64_t id, const std::string& content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

// Ids 0 to 255 are the bytes; "ab" 256, "bc" 257, "abc" 258, "Ġa" 259, "aa" 260, "aaaa" 261.
Json SmallTokenizer() {
  Json vocab = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocab[ByteCharacter(static_cast<std::uint8_t>(byte))] = byte;
  }
  const std::vector<std::string> merged = {"ab", "bc", "abc", "Ġa", "aa", "aaaa"};
  for (const std::string& token : merged) vocab[token] = vocab.size();
  return {
      {"version", "1.0"},
      {"added_tokens", Json::array({Added(262, "<end>")})},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {Split(kQwen2), ByteLevel()}}}},
      {"post_processor", nullptr},
      {"model",
       {{"type", "BPE"},
        {"vocab", vocab},
        {"merges", {"b c", "a b", "a bc", "Ġ a", "a a", "aa aa"}}}}};
}

Tokenizer Parse(const Json& json) { return Tokenizer::Parse(json.dump(), "tokenizer.json"); }

std::string TokenizerRefusal(const std::string& text) {
  try {
    Tokenizer::Parse(text, "tokenizer.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

void ExpectRefusal(const Json& json, const std::string& reason) {
  const std::string message = TokenizerRefusal(json.dump());
  EXPECT_THAT(message, HasSubstr("tokenizer.json")) << reason;
  EXPECT_THAT(message, HasSubstr(reason));
  EXPECT_LT(message.size(), 6000u);
}

TEST(Tokenizer, MergesTheLowestRankFirstAndTheLeftmostOfEquals) {
  const Tokenizer tokenizer = Parse(SmallTokenizer());
  EXPECT_EQ(tokenizer.Encode("abc"), Ids({258}));  // bc, then a+bc
  EXPECT_EQ(tokenizer.Encode("ab"), Ids({256}));
  EXPECT_EQ(tokenizer.Encode("aaa"), Ids({260, 'a'}));  // the left pair of two
  EXPECT_EQ(tokenizer.Encode("aaaaaaa"), Ids({261, 260, 'a'}));
  EXPECT_EQ(tokenizer.Encode("x ab"), Ids({'x', ' ', 256}));  // rank of "a b" before "Ġ a"
  EXPECT_EQ(tokenizer.Encode(" a"), Ids({259}));
  EXPECT_EQ(tokenizer.Encode("é"), Ids({0xC3, 0xA9}));
  EXPECT_EQ(tokenizer.Encode(""), Ids({}));
}

TEST(Tokenizer, KnowsItsTokensAndItsSize) {
  const Tokenizer tokenizer = Parse(SmallTokenizer());
  EXPECT_EQ(tokenizer.FindToken("<end>"), 262);
  EXPECT_EQ(tokenizer.FindToken("Ġa"), 259);
  EXPECT_EQ(tokenizer.FindToken("nothing"), -1);
  EXPECT_EQ(tokenizer.vocab_size(), 263);
  EXPECT_EQ(tokenizer.Encode("a<end>b<end"), Ids({'a', 262, 'b', '<', 'e', 'n', 'd'}));
}

TEST(Tokenizer, ByteCharactersAreThoseOfGpt2) {
  EXPECT_EQ(ByteCharacter(' '), "Ġ");
  EXPECT_EQ(ByteCharacter('\n'), "Ċ");
  EXPECT_EQ(ByteCharacter('!'), "!");
  EXPECT_EQ(ByteCharacter(0x7F), "ġ");
  EXPECT_EQ(ByteCharacter(0xA0), "ł");
  EXPECT_EQ(ByteCharacter(0xAD), "Ń");
  EXPECT_EQ(ByteCharacter(0xFF), "ÿ");
}

TEST(Tokenizer, PairsAndStringsOfMergesMeanTheSame) {
  Json json = SmallTokenizer();
  Json pairs = Json::array();
  for (const auto& [left, right] : std::vector<std::pair<std::string, std::string>>{
           {"b", "c"}, {"a", "b"}, {"a", "bc"}, {"Ġ", "a"}, {"a", "a"}, {"aa", "aa"}}) {
    pairs.push_back(Json::array({left, right}));
  }
  json["model"]["merges"] = pairs;
  EXPECT_EQ(Parse(json).Encode("abc aaaa"), Parse(SmallTokenizer()).Encode("abc aaaa"));
  json["model"]["merges"] = {"#version: 0.2", "b c", "a b"};
  EXPECT_EQ(Parse(json).Encode("ab"), Ids({256}));
}

TEST(Tokenizer, FailsOnTextThatIsNotUtf8) {
  const Tokenizer tokenizer = Parse(SmallTokenizer());
  try {
    tokenizer.Encode("ab\xFFz");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("byte 2 (0xFF)"));
  }
}

TEST(Tokenizer, FailsOnAByteWithoutTokenInsteadOfDroppingIt) {
  Json json = SmallTokenizer();
  json["model"]["vocab"].erase("z");
  json["added_tokens"] = Json::array();
  const Tokenizer tokenizer = Parse(json);
  EXPECT_EQ(tokenizer.Encode("a"), Ids({'a'}));
  try {
    tokenizer.Encode("fuzz");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("0x7A"));
  }
}

TEST(Tokenizer, RefusesUnsupportedComponentsByName) {
  Json json = SmallTokenizer();
  json["normalizer"] = {{"type", "Lowercase"}};
  ExpectRefusal(json, "normalizer 'Lowercase' is not supported");
  json["normalizer"] = {{"type", "Sequence"},
                        {"normalizers", {{{"type", "NFC"}}, {{"type", "NFKC"}}}}};
  ExpectRefusal(json, "normalizer 'NFKC' is not supported");

  json = SmallTokenizer();
  json["pre_tokenizer"] = {{"type", "Whitespace"}};
  ExpectRefusal(json, "pre_tokenizer 'Whitespace' is not supported");
  json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {ByteLevel(), Split(kQwen2)}}};
  ExpectRefusal(json, "'Split' after ByteLevel");
  json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {Split("[a-z]+"), ByteLevel()}}};
  ExpectRefusal(json, "pattern '[a-z]+' is not one of the supported");

  json = SmallTokenizer();
  json["model"]["type"] = "WordPiece";
  ExpectRefusal(json, "model 'WordPiece' is not supported");
  json["version"] = "2.0";
  ExpectRefusal(json, "version '2.0' is not supported");
}

TEST(Tokenizer, KnowsAPatternWithControlCharactersForEscapes) {
  std::string regex = kQwen2;
  for (const auto& [escape, character] : {std::pair("\\r", "\r"), std::pair("\\n", "\n")}) {
    for (std::size_t at; (at = regex.find(escape)) != std::string::npos;) {
      regex.replace(at, 2, character);
    }
  }
  Json json = SmallTokenizer();
  json["pre_tokenizer"]["pretokenizers"][0] = Split(regex);
  EXPECT_EQ(Parse(json).Encode("ab \nab"), Ids({256, ' ', '\n', 256}));
}

TEST(Tokenizer, RefusesPipelinesWithoutEnd) {
  const auto with_splits = [](int count) {
    Json parts = Json::array();
    for (int i = 0; i < count; ++i) parts.push_back(Split(kQwen2));
    parts.push_back(ByteLevel());
    Json json = SmallTokenizer();
    json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", parts}};
    return json;
  };
  EXPECT_EQ(Parse(with_splits(16)).Encode("ab"), Ids({256}));
  ExpectRefusal(with_splits(17), "more than 16 splits");
  const auto with_steps = [](std::size_t count) {
    Json json = SmallTokenizer();
    json["normalizer"] = {{"type", "Sequence"},
                          {"normalizers", Json(count, Json{{"type", "NFC"}})}};
    return json;
  };
  EXPECT_EQ(Parse(with_steps(64)).Encode("ab"), Ids({256}));
  ExpectRefusal(with_steps(65), "more than 64 steps");
}

TEST(Tokenizer, RefusesSplitsOfAnotherBehavior) {
  Json json = SmallTokenizer();
  Json& split = json["pre_tokenizer"]["pretokenizers"][0];
  split["behavior"] = "Removed";
  ExpectRefusal(json, "behavior 'Removed' is not supported");
  split["behavior"] = "Isolated";
  split["invert"] = true;
  ExpectRefusal(json, "invert true is not supported");
  split["invert"] = false;
  split["pattern"] = {{"String", " "}};
  ExpectRefusal(json, "'Regex' is missing");
  split["pattern"] = "x";
  ExpectRefusal(json, "expected an object with key 'Regex'");
}

TEST(Tokenizer, RefusesModelFeaturesThatChangeIds) {
  const auto with = [](const char* key, const Json& value) {
    Json json = SmallTokenizer();
    json["model"][key] = value;
    return json;
  };
  ExpectRefusal(with("dropout", 0.1), "dropout");
  ExpectRefusal(with("byte_fallback", true), "byte_fallback true with ByteLevel");
  ExpectRefusal(with("continuing_subword_prefix", "##"), "continuing_subword_prefix '##'");
  ExpectRefusal(with("end_of_word_suffix", "</w>"), "end_of_word_suffix '</w>'");
  EXPECT_EQ(Parse(with("dropout", 0.0)).Encode("ab"), Ids({256}));
  EXPECT_EQ(Parse(with("end_of_word_suffix", "")).Encode("ab"), Ids({256}));
}

TEST(Tokenizer, RefusesABrokenVocabulary) {
  Json json = SmallTokenizer();
  json["model"].erase("vocab");
  ExpectRefusal(json, "key 'vocab' is missing");
  for (const Json& id : {Json(-1), Json(1.5), Json("7"), Json(nullptr), Json(2147483647),
                         Json(18446744073709551615u), Json::array({1})}) {
    json = SmallTokenizer();
    json["model"]["vocab"]["ab"] = id;
    ExpectRefusal(json, "token 'ab' has id");
  }
  json = SmallTokenizer();
  json["model"]["vocab"]["ab"] = 5;
  ExpectRefusal(json, "two tokens have id 5");
  json["model"]["vocab"] = Json::array({"a", "b"});
  ExpectRefusal(json, "key 'vocab' is of type array");
  EXPECT_THAT(TokenizerRefusal(R"({"model": {"vocab": {"a": 1, "a": 2}, "merges": []}})"),
              HasSubstr("duplicate key 'a'"));
}

TEST(Tokenizer, RefusesBrokenMerges) {
  const auto with = [](const Json& merges) {
    Json json = SmallTokenizer();
    json["model"]["merges"] = merges;
    return json;
  };
  Json json = SmallTokenizer();
  json["model"].erase("merges");
  ExpectRefusal(json, "key 'merges' is missing");
  ExpectRefusal(with(Json::object()), "key 'merges' is of type object");
  ExpectRefusal(with({"a b", "a q"}), "merge number 1 ('a' and 'q') needs token 'aq'");
  ExpectRefusal(with({"ab zz"}), "needs token 'zz'");
  ExpectRefusal(with({"ab"}), "merge number 0 is 'ab'");
  ExpectRefusal(with({"a b c"}), "merge number 0 is 'a b c'");
  ExpectRefusal(with(Json::array({Json::array({"a", "b", "c"})})), "merge number 0 is neither");
  ExpectRefusal(with(Json::array({Json::array({"a", 1})})), "merge number 0 is neither");
  ExpectRefusal(with(Json::array({7})), "merge number 0 is neither");
  ExpectRefusal(with(Json::array({"a b", Json::array({"b", "c"})})), "mixes strings and pairs");
}

TEST(Tokenizer, RefusesBrokenAddedTokens) {
  const auto with = [](const Json& tokens) {
    Json json = SmallTokenizer();
    json["added_tokens"] = tokens;
    return json;
  };
  ExpectRefusal(with(Json::object()), "added_tokens: is of type object");
  ExpectRefusal(with(Json::array({"<end>"})), "added_tokens: is a JSON string");
  ExpectRefusal(with(Json::array({Added(-1, "<end>")})), "id -1");
  ExpectRefusal(with(Json::array({Added(2147483647, "<end>")})), "id 2147483647");
  ExpectRefusal(with(Json::array({Added(300, "<end>")})),
                "has id 300, expected 262 (the next free");
  ExpectRefusal(with(Json::array({Added(7, "ab")})), "has id 7, expected 256 (its id in the vocab");
  ExpectRefusal(with(Json::array({Added(262, "<e>"), Added(262, "<e>")})), "'<e>' appears twice");
  ExpectRefusal(with(Json::array({Added(262, std::string(1025, 'e'))})), "has 1025 bytes");
  Json incomplete = Added(262, "<end>");
  incomplete.erase("lstrip");
  ExpectRefusal(with(Json::array({incomplete})), "key 'lstrip' is missing");
  incomplete["lstrip"] = 1;
  ExpectRefusal(with(Json::array({incomplete})), "key 'lstrip'");
  Json composed = Added(262, "\u1EB9");
  Json decomposed = Added(263, "e\u0323");
  composed["normalized"] = decomposed["normalized"] = true;
  Json json = with(Json::array({composed, decomposed}));
  EXPECT_EQ(Parse(json).vocab_size(), 264);
  json["normalizer"] = {{"type", "NFC"}};
  ExpectRefusal(json, "are both '\u1EB9' after normalization");
}

TEST(Tokenizer, RefusesWhatIsNoTokenizerAtAll) {
  for (const std::string text :
       {"", "{", "[]", "null", "7", "{\"model\": 3}", "{\"model\": {}}", "{\"pre_tokenizer\": []}",
        "{\"pre_tokenizer\": {\"type\": 4}}", "{\"version\": 1}", "{} {}", "{\"a\": \"\xFF\"}"}) {
    EXPECT_THAT(TokenizerRefusal(text), HasSubstr("tokenizer.json")) << text;
  }
  EXPECT_THAT(TokenizerRefusal(std::string(100000, '[')), HasSubstr("nested deeper"));
  std::string nested;
  for (int i = 0; i < 5000; ++i) nested += R"({"type":"Sequence","pretokenizers":[)";
  EXPECT_THAT(TokenizerRefusal("{\"pre_tokenizer\":" + nested), HasSubstr("nested deeper"));
}

}  // namespace
}  // namespace cacheready
