// The `added_tokens` of a tokenizer.json: strings found in the text before the model sees it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/bpe_model.h"

namespace cacheready {

struct AddedToken {
  std::int32_t id = 0;
  std::string content;
  bool single_word = false;
  bool lstrip = false;
  bool rstrip = false;
  bool normalized = false;
};

// Reads the array (null = none). `tokenizers` gives a token the id that the model has for its
// content, or else the next free one, whatever the file says; a file that says otherwise is
// refused.
std::vector<AddedToken> ParseAddedTokens(const Json* json, const BpeModel& model,
                                         std::string_view what);

// Either a token found in the text (its id), or text between tokens (id -1).
struct TextSegment {
  std::int32_t id = -1;
  std::string_view text;
};

// Finds the longest of its tokens at the leftmost place, goes on behind it, and so on; then applies
// the flags. A match refused by single_word still hides what overlaps it, as in `tokenizers`.
class AddedTokenFinder {
 public:
  struct Entry {
    std::string pattern;  // the content, normalized if the token is; not empty
    AddedToken token;
  };

  AddedTokenFinder() = default;
  // Fails if two tokens have one pattern; `what` names the file.
  AddedTokenFinder(std::vector<Entry> entries, std::string_view what);

  // Segments of well-formed UTF-8 `text`, in order; text between tokens is not empty. Valid while
  // `text` lives.
  std::vector<TextSegment> Find(std::string_view text) const;

 private:
  const Entry* FindLongestAt(std::string_view text, std::size_t begin) const;

  std::vector<Entry> entries_;  // sorted by pattern
};

}  // namespace cacheready
