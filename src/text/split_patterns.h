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
};

std::span<const SplitPattern> SplitPatterns();

// nullptr if unknown.
const SplitPattern* FindSplitPattern(std::string_view regex);

// The one that ByteLevel uses when its use_regex is true.
const SplitPattern& Gpt2Pattern();

}  // namespace cacheready
