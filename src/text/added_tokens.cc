// SPDX-License-Identifier: Apache-2.0
#include "text/added_tokens.h"

#include <algorithm>
#include <limits>
#include <unordered_set>

#include "base/error.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"

namespace cacheready {
namespace {

// The search may compare as many bytes at every place of a text.
constexpr std::size_t kLongestToken = 1024;

AddedToken ParseAddedToken(const Json& json, std::string_view what) {
  AddedToken token;
  const std::int64_t id = GetInt(json, "id", what);
  if (id < 0 || id >= std::numeric_limits<std::int32_t>::max()) {
    Fail("{}: id {}, expected 0 to 2147483646", what, id);
  }
  token.id = static_cast<std::int32_t>(id);
  token.content = GetString(json, "content", what);
  if (token.content.size() > kLongestToken) {
    Fail("{}: token '{}' has {} bytes, expected at most {}", what, Shortened(token.content),
         token.content.size(), kLongestToken);
  }
  token.single_word = RequireBool(json, "single_word", what);
  token.lstrip = RequireBool(json, "lstrip", what);
  token.rstrip = RequireBool(json, "rstrip", what);
  token.normalized = RequireBool(json, "normalized", what);
  return token;
}

bool IsWholeWord(std::string_view text, std::size_t begin, std::size_t end) {
  const bool word_before = begin > 0 && IsWordCharacter(LastCodePoint(text.substr(0, begin)).value);
  const bool word_behind =
      end < text.size() && IsWordCharacter(FirstCodePoint(text.substr(end)).value);
  return !word_before && !word_behind;
}

std::size_t SkipSpaceBackward(std::string_view text, std::size_t offset, std::size_t limit) {
  while (offset > limit) {
    const CodePoint last = LastCodePoint(text.substr(0, offset));
    if (!IsWhiteSpace(last.value)) break;
    offset -= last.size_bytes;
  }
  return offset;
}

std::size_t SkipSpaceForward(std::string_view text, std::size_t offset) {
  while (offset < text.size()) {
    const CodePoint first = FirstCodePoint(text.substr(offset));
    if (!IsWhiteSpace(first.value)) break;
    offset += first.size_bytes;
  }
  return offset;
}

}  // namespace

std::vector<AddedToken> ParseAddedTokens(const Json* json, const BpeModel& model,
                                         std::string_view what) {
  std::vector<AddedToken> tokens;
  if (json == nullptr) return tokens;
  const std::string place = fmt::format("{}: added_tokens", what);
  if (!json->is_array()) Fail("{}: is of type {}, expected an array", place, json->type_name());
  std::unordered_set<std::string> seen;
  std::int64_t next_id = model.num_tokens();
  for (const Json& entry : *json) {
    AddedToken token = ParseAddedToken(entry, place);
    if (token.content.empty()) continue;
    if (!seen.insert(token.content).second) {
      Fail("{}: token '{}' appears twice", place, Shortened(token.content));
    }
    const std::int32_t known = model.FindToken(token.content);
    const std::int64_t expected = known >= 0 ? known : next_id++;
    if (token.id != expected) {
      Fail("{}: token '{}' has id {}, expected {} ({})", place, Shortened(token.content), token.id,
           expected, known >= 0 ? "its id in the vocabulary" : "the next free one");
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

AddedTokenFinder::AddedTokenFinder(std::vector<Entry> entries, std::string_view what)
    : entries_(std::move(entries)) {
  std::sort(entries_.begin(), entries_.end(),
            [](const Entry& a, const Entry& b) { return a.pattern < b.pattern; });
  const auto twice =
      std::adjacent_find(entries_.begin(), entries_.end(),
                         [](const Entry& a, const Entry& b) { return a.pattern == b.pattern; });
  if (twice != entries_.end()) {
    Fail("{}: added_tokens: tokens {} and {} are both '{}' after normalization", what,
         twice->token.id, std::next(twice)->token.id, Shortened(twice->pattern));
  }
}

// Narrows the sorted range to the patterns that share one more byte with the text. A pattern that
// ends here is the first of the range.
const AddedTokenFinder::Entry* AddedTokenFinder::FindLongestAt(std::string_view text,
                                                               std::size_t begin) const {
  const Entry* longest = nullptr;
  auto low = entries_.begin();
  auto high = entries_.end();
  for (std::size_t depth = 0; low != high; ++depth) {
    if (low->pattern.size() == depth) {
      longest = &*low++;
    }
    if (begin + depth == text.size()) break;
    const auto byte = static_cast<unsigned char>(text[begin + depth]);
    const auto byte_of = [depth](const Entry& e) {
      return static_cast<unsigned char>(e.pattern[depth]);
    };
    low = std::partition_point(low, high, [&](const Entry& e) { return byte_of(e) < byte; });
    high = std::partition_point(low, high, [&](const Entry& e) { return byte_of(e) == byte; });
  }
  return longest;
}

std::vector<TextSegment> AddedTokenFinder::Find(std::string_view text) const {
  std::vector<TextSegment> segments;
  std::size_t done = 0;       // everything before is in a segment
  std::size_t at = 0;         // where the search goes on: not behind the spaces that a token took
  std::size_t space_end = 0;  // of the last run of spaces that a token took
  while (at < text.size()) {
    const Entry* entry = FindLongestAt(text, at);
    if (entry == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at;
    std::size_t end = at + entry->pattern.size();
    at = end;
    const AddedToken& token = entry->token;
    if (token.single_word && !IsWholeWord(text, begin, end)) continue;
    if (token.lstrip) begin = std::max(SkipSpaceBackward(text, begin, done), done);
    if (token.rstrip) {
      // A token of white space matches again inside the space it took: skip a run only once.
      if (end > space_end) space_end = SkipSpaceForward(text, end);
      end = space_end;
    }
    if (done < begin) segments.push_back({-1, text.substr(done, begin - done)});
    segments.push_back({token.id, {}});
    done = end;
  }
  if (done < text.size()) segments.push_back({-1, text.substr(done)});
  return segments;
}

}  // namespace cacheready
