// SPDX-License-Identifier: Apache-2.0
#include "text/documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <tuple>

#include "base/error.h"
#include "io/mapped_file.h"

namespace cacheready {
namespace {

using Ids = std::vector<std::int32_t>;
using testing::HasSubstr;

const Tokenizer& Reference() {
  static const Tokenizer tokenizer = Tokenizer::Parse(
      ReadTextFile(std::string(CACHEREADY_SOURCE_DIR) + "/models/reference-fp8/tokenizer.json"),
      "tokenizer.json");
  return tokenizer;
}

std::string DocumentRefusal(const std::string& contents,
                            const Tokenizer* tokenizer = &Reference()) {
  try {
    ParseDocuments(contents, "texts.jsonl", tokenizer, 0, 0);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ParseDocuments, ReadsTextMessagesAndIds) {
  const auto documents = ParseDocuments(
      "{\"text\": \"one two\", \"domain\": \"d\", \"license\": \"x\"}\r\n"
      "\n"
      "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}\n"
      "{\"ids\": [5, 6, 2147483647]}",
      "texts.jsonl", &Reference(), 0, 0);
  ASSERT_EQ(documents.size(), 3u);
  EXPECT_EQ(documents[0].ids, Reference().Encode("one two"));
  EXPECT_EQ(documents[0].domain, "d");
  EXPECT_EQ(documents[0].line, 1);
  EXPECT_EQ(documents[1].ids, Reference().Encode("<|im_start|>user\nhi<|im_end|>\n"));
  EXPECT_EQ(documents[1].ids.front(), 1);  // <|im_start|> is one token
  EXPECT_EQ(documents[1].domain, "");
  EXPECT_EQ(documents[1].line, 3);
  EXPECT_EQ(documents[2].ids, Ids({5, 6, 2147483647}));
  EXPECT_EQ(documents[2].line, 4);
}

TEST(ParseDocuments, JoinsTextPartsAndTurns) {
  const auto documents = ParseDocuments(
      R"({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": )"
      R"([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]})",
      "texts.jsonl", &Reference(), 0, 0);
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_EQ(documents[0].ids, Reference().Encode("<|im_start|>system\nS<|im_end|>\n"
                                                 "<|im_start|>user\nab<|im_end|>\n"));
}

TEST(ParseDocuments, CutsAndLeavesOutShortOnes) {
  const std::string contents = "{\"ids\": [1,2,3,4]}\n{\"ids\": [1,2]}\n{\"ids\": [1]}\n";
  const auto documents = ParseDocuments(contents, "x", nullptr, 3, 2);
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(documents[0].ids, Ids({1, 2, 3}));
  EXPECT_EQ(documents[1].ids, Ids({1, 2}));
  // printf '\1\0\0\0\2\0\0\0' | sha256sum
  EXPECT_EQ(documents[1].sha256,
            "34fb5c825de7ca4aea6e712f19d439c1da0c92c37b423936c5f618545ca4fa1f");
}

TEST(ParseDocuments, NamesFileAndLineOfWhatItRefuses) {
  const std::string good = "{\"ids\": [1]}\n";
  const std::map<std::string, std::string> cases = {
      {"{\"text\": 3}", "'text'"},
      {"{\"text\": \"a\", \"ids\": [1]}", "exactly one of"},
      {"{\"domain\": \"d\"}", "exactly one of"},
      {"{\"text\": \"a\", \"domain\": 3}", "'domain'"},
      {"{\"text\": \"a\"", ""},
      {"[1]", "exactly one of"},
      {"{\"ids\": 3}", "'ids'"},
      {"{\"ids\": [1, -1]}", "ids[1]"},
      {"{\"ids\": [2147483648]}", "ids[0]"},
      {"{\"ids\": [1.5]}", "ids[0]"},
      {"{\"messages\": []}", "'messages'"},
      {"{\"messages\": [{\"role\": \"user\"}]}", "'content'"},
      {"{\"messages\": [{\"content\": \"a\"}]}", "'role'"},
      {"{\"messages\": [{\"role\": \"u\", \"content\": [{\"type\": \"image\"}]}]}", "'image'"},
      {"{\"text\": \"\xFF\"}", ""},
  };
  for (const auto& [line, reason] : cases) {
    const std::string message = DocumentRefusal(good + line + "\n" + good);
    EXPECT_THAT(message, HasSubstr("texts.jsonl:2")) << line;
    EXPECT_THAT(message, HasSubstr(reason)) << line;
  }
  EXPECT_THAT(DocumentRefusal("{\"text\": \"a\"}", nullptr), HasSubstr("needs a tokenizer"));
}

TEST(ParseDocuments, RefusesMessagesWithoutTheTokensOfChatMl) {
  const std::string path =
      std::string(CACHEREADY_SOURCE_DIR) + "/goldens/tokenizer/variants/gpt2.json";
  const Tokenizer gpt2 = Tokenizer::Parse(ReadTextFile(path), "gpt2.json");
  EXPECT_THAT(DocumentRefusal(R"({"messages": [{"role": "user", "content": "hi"}]})", &gpt2),
              HasSubstr("texts.jsonl:1: 'messages' are rendered as ChatML"));
}

// Document `i` of a domain has distinct ids, `length` of them.
Document Doc(const std::string& domain, int i, int length) {
  const std::string line = fmt::format("{{\"ids\": [{}", i);
  std::string rest;
  for (int k = 1; k < length; ++k) rest += fmt::format(", {}", 1000 + k);
  Document document = ParseDocuments(line + rest + "]}", "x", nullptr, 0, 0).front();
  document.domain = domain;
  return document;
}

std::map<std::string, std::int64_t> TokensByDomain(const std::vector<Document>& documents) {
  std::map<std::string, std::int64_t> tokens;
  for (const Document& d : documents) tokens[d.domain] += static_cast<std::int64_t>(d.ids.size());
  return tokens;
}

std::vector<Document> ThreeDomains() {
  std::vector<Document> documents;
  for (int i = 0; i < 40; ++i) documents.push_back(Doc("a", i, 10));  // 400 tokens
  for (int i = 0; i < 5; ++i) documents.push_back(Doc("b", i, 10));   // 50
  for (int i = 0; i < 100; ++i) documents.push_back(Doc("c", i, 7));  // 700
  return documents;
}

TEST(SampleDocuments, GivesEqualSharesAndPassesOnWhatADomainLacks) {
  const auto sample = SampleDocuments(ThreeDomains(), 455, 7);
  EXPECT_EQ(TokensByDomain(sample),
            (std::map<std::string, std::int64_t>{{"a", 202}, {"b", 50}, {"c", 203}}));
  std::map<std::string, int> cut;
  for (const Document& d : sample) {
    const std::size_t whole = d.domain == "c" ? 7 : 10;
    cut[d.domain] += d.ids.size() < whole;
    EXPECT_EQ(d.sha256, ParseDocuments(fmt::format("{{\"ids\": [{}]}}", fmt::join(d.ids, ",")), "x",
                                       nullptr, 0, 0)
                            .front()
                            .sha256);
  }
  EXPECT_LE(cut["a"], 1);
  EXPECT_EQ(cut["b"], 0);
  EXPECT_LE(cut["c"], 1);
}

TEST(SampleDocuments, TakesEverythingWhereThereIsNotEnough) {
  const auto sample = SampleDocuments(ThreeDomains(), 1000000, 7);
  EXPECT_EQ(TokensByDomain(sample),
            (std::map<std::string, std::int64_t>{{"a", 400}, {"b", 50}, {"c", 700}}));
}

TEST(SampleDocuments, DependsOnTheSetAndTheSeedOnly) {
  std::vector<Document> documents = ThreeDomains();
  const auto digest = [](const std::vector<Document>& sample) {
    std::string all;
    for (const Document& d : sample) all += d.domain + d.sha256 + ";";
    return all;
  };
  const std::string first = digest(SampleDocuments(documents, 100, 7));
  std::reverse(documents.begin(), documents.end());
  EXPECT_EQ(digest(SampleDocuments(documents, 100, 7)), first);
  documents.insert(documents.end(), documents.begin(), documents.begin() + 20);  // again
  EXPECT_EQ(digest(SampleDocuments(documents, 100, 7)), first);
  EXPECT_NE(digest(SampleDocuments(documents, 100, 8)), first);
}

TEST(SampleDocuments, SortsByDomainAndHash) {
  const auto sample = SampleDocuments(ThreeDomains(), 300, 1);
  EXPECT_TRUE(std::is_sorted(sample.begin(), sample.end(), [](const auto& a, const auto& b) {
    return std::tie(a.domain, a.sha256) < std::tie(b.domain, b.sha256);
  }));
  EXPECT_THROW(SampleDocuments(ThreeDomains(), 0, 1), Error);
  EXPECT_TRUE(SampleDocuments({}, 10, 1).empty());
}

}  // namespace
}  // namespace cacheready
