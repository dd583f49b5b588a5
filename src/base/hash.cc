// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"

#define XXH_INLINE_ALL
#include <openssl/evp.h>
#include <xxhash.h>

#include <algorithm>

#include "base/error.h"

namespace cacheready {
namespace {

constexpr std::string_view kBase64Alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::span<const std::byte> AsBytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

struct Sha256::State {
  EVP_MD_CTX* context = nullptr;
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  state_->context = EVP_MD_CTX_new();
  CR_CHECK(state_->context != nullptr && EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr),
           "OpenSSL offers no SHA-256");
}

Sha256::~Sha256() { EVP_MD_CTX_free(state_->context); }

void Sha256::Add(std::span<const std::byte> bytes) {
  CR_CHECK(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1, "SHA-256 update");
}

void Sha256::Add(std::string_view text) { Add(AsBytes(text)); }

Digest Sha256::Finish() {
  Digest digest{};
  unsigned size = 0;
  CR_CHECK(EVP_DigestFinal_ex(state_->context, reinterpret_cast<unsigned char*>(digest.data()),
                              &size) == 1 &&
               size == digest.size(),
           "SHA-256 final");
  return digest;
}

Digest Sha256Of(std::span<const std::byte> bytes) {
  Sha256 sha;
  sha.Add(bytes);
  return sha.Finish();
}

std::string Hex(std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte byte : bytes) {
    text += kDigits[std::to_integer<std::size_t>(byte >> 4)];
    text += kDigits[std::to_integer<std::size_t>(byte & std::byte{15})];
  }
  return text;
}

std::string Sha256Hex(std::span<const std::byte> bytes) { return Hex(Sha256Of(bytes)); }
std::string Sha256Hex(std::string_view text) { return Sha256Hex(AsBytes(text)); }

std::uint64_t Xxh3(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::string Base64(std::span<const std::byte> bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t used = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      group = group << 8 | (j < used ? std::to_integer<std::uint32_t>(bytes[i + j]) : 0u);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      text += j <= used ? kBase64Alphabet[(group >> (18 - 6 * j)) & 63u] : '=';
    }
  }
  return text;
}

std::string FromBase64(std::string_view text, std::string_view what) {
  if (text.size() % 4 != 0) {
    Fail("{}: base64 text of {} characters, expected a multiple of 4", what, text.size());
  }
  const std::size_t padding = text.ends_with("==") ? 2 : (text.ends_with('=') ? 1 : 0);
  const std::string_view digits = text.substr(0, text.size() - padding);
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  std::uint32_t group = 0;
  int bits = 0;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    const std::size_t digit = kBase64Alphabet.find(digits[i]);
    if (digit == std::string_view::npos) Fail("{}: character {} is not base64", what, i + 1);
    group = group << 6 | static_cast<std::uint32_t>(digit);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes += static_cast<char>(group >> bits & 255u);
    }
  }
  // One byte sequence has one spelling: the bits under the padding must be zero.
  if ((group & ((1u << bits) - 1u)) != 0) Fail("{}: base64 text with stray bits at its end", what);
  return bytes;
}

}  // namespace cacheready
