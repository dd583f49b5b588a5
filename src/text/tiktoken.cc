// SPDX-License-Identifier: Apache-2.0
#include "text/tiktoken.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"

namespace cacheready {
namespace {

constexpr std::string_view kTokenizerClass = "TikTokenTokenizer";
constexpr std::int64_t kSpecialTokens = 256;
constexpr std::size_t kMostCharacters = 400000;
constexpr std::size_t kMostOfOneKind = 25000;

// Digits and nothing else.
std::optional<std::int32_t> ParseId(std::string_view text) {
  std::int32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id < 0) return std::nullopt;
  return id;
}

struct RankLine {
  std::string token;
  std::int32_t rank = 0;
};

RankLine ParseLine(std::string_view line, std::string_view place) {
  const std::size_t space = line.find(' ');
  const auto rank =
      space == std::string_view::npos ? std::nullopt : ParseId(line.substr(space + 1));
  if (!rank) {
    Fail("{}: is '{}', expected a token in base64, one space and its rank", place, Shortened(line));
  }
  return {FromBase64(line.substr(0, space), place), *rank};
}

// As Python's str.isspace, which counts the four information separators too.
bool IsPythonSpace(char32_t c) { return IsWhiteSpace(c) || (c >= 0x1C && c <= 0x1F); }

// tiktoken tries special tokens in no certain order, so one must not begin another.
void CheckDistinct(const std::vector<AddedToken>& tokens, std::string_view place) {
  std::vector<std::string_view> contents;
  contents.reserve(tokens.size());
  for (const AddedToken& token : tokens) contents.push_back(token.content);
  std::sort(contents.begin(), contents.end());
  const auto begins =
      std::adjacent_find(contents.begin(), contents.end(),
                         [](std::string_view a, std::string_view b) { return b.starts_with(a); });
  if (begins != contents.end()) {
    Fail("{}: token '{}' begins token '{}': which of them tiktoken finds is not defined", place,
         Shortened(*begins), Shortened(*std::next(begins)));
  }
}

}  // namespace

std::vector<std::string> ParseTiktokenRanks(std::string_view contents, std::string_view what) {
  std::vector<RankLine> lines;
  for (std::int64_t number = 1; !contents.empty(); ++number) {
    const std::size_t end = std::min(contents.find('\n'), contents.size());
    const std::string_view line = contents.substr(0, end);
    contents.remove_prefix(std::min(end + 1, contents.size()));
    if (!line.empty()) lines.push_back(ParseLine(line, fmt::format("{}: line {}", what, number)));
  }
  if (lines.empty()) Fail("{}: holds no tokens", what);
  std::sort(lines.begin(), lines.end(),
            [](const RankLine& a, const RankLine& b) { return a.rank < b.rank; });
  std::vector<std::string> tokens;
  tokens.reserve(lines.size());
  for (RankLine& line : lines) {
    if (line.rank != static_cast<std::int64_t>(tokens.size())) {
      Fail("{}: has {} tokens and rank {}, expected ranks 0 to {}, each once", what, lines.size(),
           line.rank, lines.size() - 1);
    }
    tokens.push_back(std::move(line.token));
  }
  return tokens;
}

std::vector<AddedToken> ParseTiktokenSpecialTokens(const Json& config, std::int64_t num_ranks,
                                                   std::string_view what) {
  const std::string tokenizer_class = GetString(config, "tokenizer_class", what);
  if (tokenizer_class != kTokenizerClass) {
    Fail("{}: tokenizer_class '{}' is not supported with tiktoken.model (supported: {})", what,
         Shortened(tokenizer_class), kTokenizerClass);
  }
  std::vector<AddedToken> tokens;
  for (std::int64_t id = num_ranks; id < num_ranks + kSpecialTokens; ++id) {
    AddedToken& token = tokens.emplace_back();
    token.id = static_cast<std::int32_t>(id);
    token.content = fmt::format("<|reserved_token_{}|>", id);
  }
  const Json& named = GetMember(config, "added_tokens_decoder", what);
  const std::string place = fmt::format("{}: added_tokens_decoder", what);
  if (!named.is_object()) Fail("{}: is of type {}, expected an object", place, named.type_name());
  for (const auto& [key, entry] : named.items()) {
    const std::int64_t index = std::int64_t{ParseId(key).value_or(-1)} - num_ranks;
    if (index < 0 || index >= kSpecialTokens) {
      Fail("{}: id '{}', expected {} to {}, behind the tokens of tiktoken.model", place,
           Shortened(key), num_ranks, num_ranks + kSpecialTokens - 1);
    }
    for (const char* flag : {"single_word", "lstrip", "rstrip"}) {
      if (GetBool(entry, flag, place, false)) {
        Fail("{}: {} true of token {} is not supported", place, flag, key);
      }
    }
    std::string& content = tokens[static_cast<std::size_t>(index)].content;
    content = GetString(entry, "content", place);
    if (content.empty()) Fail("{}: token {} is empty", place, key);
  }
  CheckDistinct(tokens, place);
  return tokens;
}

std::vector<std::string_view> CutLongText(std::string_view text) {
  std::vector<std::string_view> parts;
  std::size_t begin = 0;
  std::size_t characters = 0;  // since the last multiple of kMostCharacters
  std::size_t run = 0;         // of characters of the kind of the last one
  bool is_space = false;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = FirstCodePoint(text.substr(at));
    const bool same_kind = IsPythonSpace(c.value) == is_space;
    const bool full = characters == kMostCharacters;
    is_space = IsPythonSpace(c.value);
    run = same_kind && !full ? run + 1 : 1;
    if (full || run > kMostOfOneKind) {
      parts.push_back(text.substr(begin, at - begin));
      begin = at;
      run = 1;
    }
    characters = full ? 1 : characters + 1;
    at += c.size_bytes;
  }
  if (begin < text.size()) parts.push_back(text.substr(begin));
  return parts;
}

}  // namespace cacheready
