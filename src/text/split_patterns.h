// The split patterns we accept: each is compared with tokenizer.json literally, and each has
// expected ids from the `tokenizers` library in goldens/tokenizer. SPDX-License-Identifier:
// Apache-2.0
#pragma once

#include <span>
#include <string_view>

namespace cacheready {

struct SplitPattern {
  std::string_view name;
  std::string_view regex;
  std::string_view pcre = {};  // the same where PCRE2 lacks the syntax; else empty
};

std::span<const SplitPattern> SplitPatterns();

// nullptr if unknown. CR and LF may be escaped or, as in DeepSeek's files, the characters
// themselves.
const SplitPattern* FindSplitPattern(std::string_view regex);

const SplitPattern& Gpt2Pattern();    // of ByteLevel when its use_regex is true
const SplitPattern& DigitPattern();   // of Digits when its individual_digits is true
const SplitPattern& DigitsPattern();  // and when it is false
const SplitPattern& KimiPattern();    // of Kimi's tiktoken.model

}  // namespace cacheready
