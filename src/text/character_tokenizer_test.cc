// Tokenizers of characters, as SentencePiece's BPE is stored: small cases with ids that can be read
// off the vocabulary, and files that must be refused. SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "text/tokenizer.h"

namespace cacheready {
namespace {

using Ids = std::vector<std::int32_t>;
using testing::HasSubstr;

constexpr int kUnknown = 0;
constexpr int kVisible = 1;  // "▁"
constexpr int kA = 2;
constexpr int kB = 3;
constexpr int kVisibleA = 4;  // "▁a"
constexpr int kAb = 5;
constexpr int kFirstByte = 6;  // "<0x00>"; then the others
constexpr int kEnd = 262;      // "</s>", an added token

Json Prepend(const std::string& text) { return {{"type", "Prepend"}, {"prepend", text}}; }

Json Replace(const std::string& pattern, const std::string& content) {
  return {{"type", "Replace"}, {"pattern", {{"String", pattern}}}, {"content", content}};
}

Json Metaspace(const std::string& scheme, bool split) {
  return {
      {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}, {"split", split}};
}

Json CharacterTokenizer() {
  Json vocab = {{"<unk>", kUnknown}, {"▁", kVisible},   {"a", kA},
                {"b", kB},           {"▁a", kVisibleA}, {"ab", kAb}};
  for (int byte = 0; byte < 256; ++byte) vocab[fmt::format("<0x{:02X}>", byte)] = vocab.size();
  return {
      {"added_tokens",
       {{{"id", kEnd},
         {"content", "</s>"},
         {"single_word", false},
         {"lstrip", false},
         {"rstrip", false},
         {"normalized", false},
         {"special", true}}}},
      {"normalizer", {{"type", "Sequence"}, {"normalizers", {Prepend("▁"), Replace(" ", "▁")}}}},
      {"pre_tokenizer", nullptr},
      {"model",
       {{"type", "BPE"},
        {"unk_token", "<unk>"},
        {"fuse_unk", true},
        {"byte_fallback", true},
        {"vocab", vocab},
        {"merges", {"▁ a", "a b"}}}}};
}

Tokenizer ParseCharacters(const Json& json) {
  return Tokenizer::Parse(json.dump(), "tokenizer.json");
}

std::string CharactersRefusal(const Json& json, const std::string& text = "") {
  try {
    ParseCharacters(json).Encode(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(CharacterTokenizer, PutsAVisibleSpaceInFrontOfEveryStretchBetweenTokens) {
  const Tokenizer tokenizer = ParseCharacters(CharacterTokenizer());
  EXPECT_EQ(tokenizer.Encode("ab b"), Ids({kVisibleA, kB, kVisible, kB}));
  EXPECT_EQ(tokenizer.Encode(" a"), Ids({kVisible, kVisibleA}));
  EXPECT_EQ(tokenizer.Encode("a</s>a"), Ids({kVisibleA, kEnd, kVisibleA}));
  EXPECT_EQ(tokenizer.Encode(""), Ids());
}

TEST(CharacterTokenizer, FallsBackToBytes) {
  const Tokenizer tokenizer = ParseCharacters(CharacterTokenizer());
  EXPECT_EQ(tokenizer.Encode("é\n"),
            Ids({kVisible, kFirstByte + 0xC3, kFirstByte + 0xA9, kFirstByte + 0x0A}));
}

TEST(CharacterTokenizer, AnUnknownCharacterGoesBehindTheBytesThatFollowIt) {
  Json json = CharacterTokenizer();
  json["model"]["vocab"].erase("<0x7A>");  // "z"
  json["added_tokens"] = Json::array();
  EXPECT_EQ(ParseCharacters(json).Encode("zycza"),
            Ids({kVisible, kFirstByte + 'y', kFirstByte + 'c', kUnknown, kA}));
  json["model"]["fuse_unk"] = false;
  EXPECT_EQ(ParseCharacters(json).Encode("zza"), Ids({kVisible, kUnknown, kUnknown, kA}));
  json["model"]["unk_token"] = nullptr;
  EXPECT_THAT(CharactersRefusal(json, "az"), HasSubstr("the character 'z' (U+007A)"));
}

TEST(CharacterTokenizer, MetaspacePrependsByItsScheme) {
  Json json = CharacterTokenizer();
  json["normalizer"] = nullptr;
  const auto encode = [&](const std::string& scheme, bool split) {
    json["pre_tokenizer"] = Metaspace(scheme, split);
    return ParseCharacters(json).Encode("a</s>a b");
  };
  EXPECT_EQ(encode("first", false), Ids({kVisibleA, kEnd, kA, kVisible, kB}));
  EXPECT_EQ(encode("always", false), Ids({kVisibleA, kEnd, kVisibleA, kVisible, kB}));
  EXPECT_EQ(encode("never", false), Ids({kA, kEnd, kA, kVisible, kB}));
  json["pre_tokenizer"] = Metaspace("always", false);
  EXPECT_EQ(ParseCharacters(json).Encode(" a"), Ids({kVisibleA}));
  EXPECT_EQ(ParseCharacters(json).Encode("▁a"), Ids({kVisibleA}));
}

TEST(CharacterTokenizer, MetaspaceSplitsBeforeEverySpace) {
  Json json = CharacterTokenizer();
  json["normalizer"] = nullptr;
  json["model"]["vocab"]["a▁"] = 262;
  json["model"]["merges"] = {"a ▁"};
  json["added_tokens"] = Json::array();
  json["pre_tokenizer"] = Metaspace("never", true);
  EXPECT_EQ(ParseCharacters(json).Encode("a a"), Ids({kA, kVisible, kA}));
  json["pre_tokenizer"] = Metaspace("never", false);
  EXPECT_EQ(ParseCharacters(json).Encode("a a"), Ids({262, kA}));
}

TEST(CharacterTokenizer, RefusesOtherNormalizers) {
  const auto with = [](const Json& normalizer) {
    Json json = CharacterTokenizer();
    json["normalizer"] = normalizer;
    return CharactersRefusal(json, std::string(200, 'a'));
  };
  EXPECT_THAT(with({{"type", "Strip"}}), HasSubstr("normalizer 'Strip' is not supported"));
  EXPECT_THAT(with({{"type", "Prepend"}}), HasSubstr("'prepend' is missing"));
  EXPECT_THAT(with(Replace("", "▁")), HasSubstr("both must be non-empty"));
  EXPECT_THAT(with(Replace("▁", "")), HasSubstr("both must be non-empty"));
  EXPECT_THAT(with({{"type", "Replace"}, {"pattern", {{"Regex", " +"}}}, {"content", "▁"}}),
              HasSubstr("'String' is missing"));
  EXPECT_THAT(with(Replace("a", std::string(200, 'a'))), HasSubstr("more than 64 times"));
  EXPECT_THAT(with(Prepend(std::string(20000, 'a'))), HasSubstr("more than 64 times"));
}

TEST(CharacterTokenizer, RefusesWhatMetaspaceCannotMean) {
  const auto with = [](const Json& pre_tokenizer, const Json& normalizer = nullptr) {
    Json json = CharacterTokenizer();
    json["normalizer"] = normalizer;
    json["pre_tokenizer"] = pre_tokenizer;
    return CharactersRefusal(json);
  };
  EXPECT_THAT(with({{"type", "Metaspace"}}), HasSubstr("'replacement' is missing"));
  for (const std::string replacement : {"", "ab", "▁▁"}) {
    EXPECT_THAT(with({{"type", "Metaspace"}, {"replacement", replacement}}),
                HasSubstr(fmt::format("replacement '{}' is not one character", replacement)));
  }
  EXPECT_THAT(with(Metaspace("last", true)), HasSubstr("prepend_scheme 'last' is not supported"));
  Json old = Metaspace("first", true);
  old["add_prefix_space"] = false;
  EXPECT_THAT(with(old), HasSubstr("add_prefix_space false contradicts prepend_scheme 'first'"));
  EXPECT_THAT(with(Metaspace("first", true), Prepend("▁")), HasSubstr("behind a normalizer"));
  const Json digits = {{"type", "Digits"}, {"individual_digits", true}};
  EXPECT_THAT(with({{"type", "Sequence"}, {"pretokenizers", {Metaspace("never", true), digits}}}),
              HasSubstr("'Digits' after Metaspace is not supported"));
}

}  // namespace
}  // namespace cacheready
