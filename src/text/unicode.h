// The little of Unicode that tokenizing needs besides regular expressions.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cacheready {

bool IsAscii(std::string_view text);

// Offset of the first byte that is not well-formed UTF-8 (surrogates and overlong forms are not),
// or npos.
std::size_t FindInvalidUtf8(std::string_view text);

// Canonical composition as the `tokenizers` library does it: by the tables of Unicode 9, so
// combining marks added later keep their place. Requires well-formed UTF-8. O(n log n) however many
// marks follow each other.
std::string Nfc(std::string_view text);

// White_Space and \w as Rust's regex crate defines them (UTS 18: Alphabetic, Mark, Nd, Pc,
// Join_Control).
bool IsWhiteSpace(char32_t code_point);
bool IsWordCharacter(char32_t code_point);

// The code point at the start or the end of well-formed, non-empty `text`, and its bytes.
struct CodePoint {
  char32_t value = 0;
  std::size_t size_bytes = 0;
};
CodePoint FirstCodePoint(std::string_view text);
CodePoint LastCodePoint(std::string_view text);

}  // namespace cacheready
