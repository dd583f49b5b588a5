// Text to token ids exactly as the `tokenizers` library makes them from a tokenizer.json, and
// `tiktoken` from a tiktoken.model, for the pipelines we accept; anything else is refused by name.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace cacheready {

class Tokenizer {
 public:
  // `json` is the text of a tokenizer.json, `what` names it in messages. Fails on an unsupported
  // component, by name.
  static Tokenizer Parse(std::string_view json, std::string_view what);
  // `ranks` is the text of a tiktoken.model, `config` that of the tokenizer_config.json beside it.
  static Tokenizer ParseTiktoken(std::string_view ranks, std::string_view ranks_what,
                                 std::string_view config, std::string_view config_what);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;

  // Ids of UTF-8 text without post-processing, truncation or padding (no BOS is added). Fails on
  // invalid UTF-8. Thread-safe.
  std::vector<std::int32_t> Encode(std::string_view text) const;
  // Id of a token given literally (added or of the vocabulary), or -1.
  std::int32_t FindToken(std::string_view token) const;
  std::int64_t vocab_size() const;  // largest id + 1, added tokens included

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cacheready
