// GPT-2's alphabet: every byte as one printable character, so that tokens of bytes can be written
// in JSON. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cacheready {

// The character of a byte, in UTF-8: "a" for 0x61, "Ġ" for the space.
const std::string& ByteCharacter(std::uint8_t byte);

// All bytes of `text` in that alphabet.
std::string ToByteAlphabet(std::string_view text);

}  // namespace cacheready
