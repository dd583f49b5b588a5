// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer.h"

#include <string_view>

#include "base/error.h"
#include "fuzz/targets.h"

namespace cacheready {

// A tokenizer.json; behind a zero byte, which none contains, the text to encode with it.
void FuzzTokenizer(std::span<const std::uint8_t> input) {
  const std::string_view all(reinterpret_cast<const char*>(input.data()), input.size());
  const std::size_t zero = all.find('\0');
  const bool has_text = zero != std::string_view::npos;
  const std::string_view text =
      has_text ? all.substr(zero + 1) : "It's <end> e\u0301 12345\r\n\u180E \u3000x\u017F's  ";
  try {
    const Tokenizer tokenizer = Tokenizer::Parse(all.substr(0, zero), "tokenizer.json");
    for (const std::int32_t id : tokenizer.Encode(text)) {
      CR_CHECK(id >= 0 && id < tokenizer.vocab_size(), "id {} of {}", id, tokenizer.vocab_size());
    }
  } catch (const Error&) {
  }
}

}  // namespace cacheready
