// SPDX-License-Identifier: Apache-2.0
#include "text/byte_alphabet.h"

#include <array>

namespace cacheready {
namespace {

// Printable Latin-1 bytes stand for themselves; the 68 others become U+0100, U+0101, … in order.
std::array<std::string, 256> MakeCharacters() {
  std::array<std::string, 256> characters;
  unsigned next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    const unsigned code_point = printable ? byte : next++;
    std::string& out = characters[byte];
    if (code_point < 0x80) {
      out.push_back(static_cast<char>(code_point));
    } else {
      out.push_back(static_cast<char>(0xC0 | (code_point >> 6)));
      out.push_back(static_cast<char>(0x80 | (code_point & 0x3F)));
    }
  }
  return characters;
}

}  // namespace

const std::string& ByteCharacter(std::uint8_t byte) {
  static const std::array<std::string, 256> kCharacters = MakeCharacters();
  return kCharacters[byte];
}

std::string ToByteAlphabet(std::string_view text) {
  std::string out;
  out.reserve(2 * text.size());
  for (const char c : text) out += ByteCharacter(static_cast<std::uint8_t>(c));
  return out;
}

}  // namespace cacheready
