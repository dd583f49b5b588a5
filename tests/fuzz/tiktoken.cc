// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "fuzz/targets.h"
#include "text/tokenizer.h"

namespace cacheready {
namespace {

// What is before the next zero byte, which goes too.
std::string_view TakePart(std::string_view& rest) {
  const std::size_t zero = std::min(rest.find('\0'), rest.size());
  const std::string_view part = rest.substr(0, zero);
  rest.remove_prefix(std::min(zero + 1, rest.size()));
  return part;
}

}  // namespace

void FuzzTiktoken(std::span<const std::uint8_t> input) {
  std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  const std::string_view ranks = TakePart(text);
  const std::string_view config = TakePart(text);
  try {
    const Tokenizer tokenizer =
        Tokenizer::ParseTiktoken(ranks, "tiktoken.model", config, "tokenizer_config.json");
    for (const std::int32_t id : tokenizer.Encode(text)) {
      CR_CHECK(id >= 0 && id < tokenizer.vocab_size(), "id {} of {}", id, tokenizer.vocab_size());
    }
  } catch (const Error&) {
  }
}

}  // namespace cacheready
