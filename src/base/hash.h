// Content hashes: SHA-256 (identity, printed as lower-case hex) and XXH3 (internal checks).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace cacheready {

using Digest = std::array<std::byte, 32>;

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void Add(std::span<const std::byte> bytes);
  void Add(std::string_view text);
  Digest Finish();  // once

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Digest Sha256Of(std::span<const std::byte> bytes);
std::string Hex(std::span<const std::byte> bytes);
std::string Sha256Hex(std::span<const std::byte> bytes);
std::string Sha256Hex(std::string_view text);
std::uint64_t Xxh3(std::span<const std::byte> bytes);

std::string Base64(std::span<const std::byte> bytes);
// Fails if `text` is not canonical base64 (alphabet, padding); `what` names it in the message.
std::string FromBase64(std::string_view text, std::string_view what);

}  // namespace cacheready
