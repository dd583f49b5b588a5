// Ids equal to those of the `tokenizers` and `tiktoken` libraries
// (tools/make_tokenizer_expected.py). SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "io/mapped_file.h"
#include "text/open_tokenizer.h"
#include "text/tokenizer.h"

namespace cacheready {
namespace {

const std::filesystem::path kRoot = CACHEREADY_SOURCE_DIR;
const std::filesystem::path kTokenizerGoldens = kRoot / "goldens" / "tokenizer";

Json ReadJson(const std::filesystem::path& path) {
  return ParseJson(ReadTextFile(path), path.filename().string());
}

Tokenizer ReadTokenizer(const std::string& name) {
  const bool reference = name == "reference-fp8";
  if (name == "kimi_tiktoken") return OpenTokenizer(kTokenizerGoldens / name);
  const std::filesystem::path path = reference ? kRoot / "models" / name / "tokenizer.json"
                                               : kTokenizerGoldens / "variants" / (name + ".json");
  return Tokenizer::Parse(ReadTextFile(path), path.filename().string());
}

// A count and as many ids, little-endian uint16, for each string.
std::vector<std::vector<std::int32_t>> ReadIds(const std::filesystem::path& path) {
  const std::string bytes = ReadTextFile(path);
  std::vector<std::vector<std::int32_t>> all;
  std::size_t at = 0;
  const auto next = [&] {
    CR_CHECK(at + 2 <= bytes.size(), "{} ends early", path.string());
    const auto low = static_cast<unsigned char>(bytes[at++]);
    const auto high = static_cast<unsigned char>(bytes[at++]);
    return low | (high << 8);
  };
  while (at < bytes.size()) {
    std::vector<std::int32_t>& ids = all.emplace_back(static_cast<std::size_t>(next()));
    for (std::int32_t& id : ids) id = next();
  }
  return all;
}

std::string Digest(const std::vector<std::int32_t>& ids) {
  std::string bytes;
  for (const std::int32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(id >> shift);
  }
  return fmt::format("{} ids, {}", ids.size(), Sha256Hex(bytes));
}

std::string ExpectedDigest(const Json& expected) {
  return fmt::format("{} ids, {}", GetInt(expected, "count", "expected.json"),
                     GetString(expected, "sha256", "expected.json"));
}

std::vector<std::string> ReadTexts(const std::string& file) {
  std::vector<std::string> texts;
  const std::string contents = ReadTextFile(kRoot / "text" / file);
  for (std::size_t begin = 0; begin < contents.size();) {
    const std::size_t end = contents.find('\n', begin);
    texts.push_back(GetString(ParseJson(contents.substr(begin, end - begin), file), "text", file));
    begin = end + 1;
  }
  return texts;
}

std::vector<std::string> LongTexts(const Json& expected) {
  std::vector<std::string> texts;
  for (const Json& recipe : expected.at("long_texts")) {
    std::string& text = texts.emplace_back(recipe.at(0).get<std::string>());
    for (int i = 0; i < recipe.at(2).get<int>(); ++i) text += recipe.at(1).get<std::string>();
    text += recipe.at(3).get<std::string>();
  }
  return texts;
}

void ExpectDigests(const Tokenizer& tokenizer, const std::vector<std::string>& texts,
                   const Json& expected) {
  ASSERT_EQ(texts.size(), expected.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(Digest(tokenizer.Encode(texts[i])), ExpectedDigest(expected.at(i)))
        << "text " << i << ": " << texts[i].substr(0, 60);
  }
}

class TokenizerGolden : public testing::TestWithParam<std::string> {
 protected:
  const Json expected_ = ReadJson(kTokenizerGoldens / "expected.json");
  const Json& mine_ = expected_.at("tokenizers").at(GetParam());
  const Tokenizer tokenizer_ = ReadTokenizer(GetParam());
};

TEST_P(TokenizerGolden, AwkwardStringsHaveTheLibrarysIds) {
  const Json strings = ReadJson(kTokenizerGoldens / "strings.json");
  const auto ids = ReadIds(kTokenizerGoldens / mine_.at("ids").get<std::string>());
  ASSERT_EQ(ids.size(), mine_.at("strings").get<std::size_t>());
  int wrong = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::string text = strings.at(i).get<std::string>();
    if (tokenizer_.Encode(text) != ids[i] && ++wrong <= 10) {
      EXPECT_EQ(tokenizer_.Encode(text), ids[i]) << "string " << i << ": " << strings.at(i).dump();
    }
  }
  EXPECT_EQ(wrong, 0) << "of " << ids.size();
}

TEST_P(TokenizerGolden, BatchesOfStringsHaveTheLibrarysIds) {
  Json strings = ReadJson(kTokenizerGoldens / "strings.json");
  for (Json& text : ReadJson(kTokenizerGoldens / "strings_more.json"))
    strings.push_back(std::move(text));
  const auto batch = expected_.at("batch").get<std::size_t>();
  const Json& batches = mine_.at("batches");
  ASSERT_EQ(strings.size(), batch * batches.size());
  for (std::size_t i = 0; i < batches.size(); ++i) {
    std::vector<std::int32_t> all;
    for (std::size_t j = i * batch; j < (i + 1) * batch; ++j) {
      const auto ids = tokenizer_.Encode(strings.at(j).get<std::string>());
      all.push_back(static_cast<std::int32_t>(ids.size()));
      all.insert(all.end(), ids.begin(), ids.end());
    }
    EXPECT_EQ(Digest(all), ExpectedDigest(batches.at(i))) << "strings from " << i * batch;
  }
}

TEST_P(TokenizerGolden, VeryLongRunsHaveTheLibrarysIds) {
  ExpectDigests(tokenizer_, LongTexts(expected_), mine_.at("long"));
}

TEST_P(TokenizerGolden, TheTextsHaveTheLibrarysIds) {
  for (const std::string file : {"calibration.jsonl", "evaluation.jsonl"}) {
    ExpectDigests(tokenizer_, ReadTexts(file), mine_.at(file));
  }
}

std::vector<std::string> TokenizerNames() {
  std::vector<std::string> names;
  const Json expected = ReadJson(kTokenizerGoldens / "expected.json");
  for (const auto& [name, values] : expected.at("tokenizers").items()) names.push_back(name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, TokenizerGolden, testing::ValuesIn(TokenizerNames()),
                         [](const auto& instance) {
                           std::string name = instance.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(Tokenizer, AgreesWithTheGoldensOfBothModels) {
  for (const std::string model : {"reference-fp8", "upcycled-fp8"}) {
    const std::filesystem::path path = kRoot / "models" / model / "tokenizer.json";
    const Tokenizer tokenizer = Tokenizer::Parse(ReadTextFile(path), path.string());
    for (const Json& entry : ReadJson(kRoot / "goldens" / model / "tokenizer_golden.json")) {
      EXPECT_EQ(tokenizer.Encode(entry.at("text").get<std::string>()),
                entry.at("ids").get<std::vector<std::int32_t>>())
          << entry.at("text").dump();
    }
  }
}

}  // namespace
}  // namespace cacheready
