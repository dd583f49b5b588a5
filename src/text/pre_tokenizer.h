// The `normalizer` and `pre_tokenizer` of a tokenizer.json: text to the pieces that the model
// merges. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/split_regex.h"

namespace cacheready {

class Normalizer {
 public:
  // null, NFC, or a Sequence of those. Fails on others by name; `what` names the file.
  static Normalizer Parse(const Json* json, std::string_view what);
  std::string Normalize(std::string_view text) const;

 private:
  bool nfc_ = false;
};

// A list of splits, then ByteLevel: the only shape of the byte-level families.
class PreTokenizer {
 public:
  static PreTokenizer Parse(const Json* json, std::string_view what);

  // Pieces of `text`, in order, none empty. Views of `text` or, where a space had to be put in
  // front, of `storage` (a deque: growing it moves nothing).
  std::vector<std::string_view> Split(std::string_view text,
                                      std::deque<std::string>& storage) const;

 private:
  void Add(const Json& json, std::string_view what);
  void AddSplit(const Json& json, std::string_view what);

  std::vector<SplitRegex> splits_;
  bool has_byte_level_ = false;
  bool add_prefix_space_ = false;               // of ByteLevel: to every piece that the splits left
  std::optional<SplitRegex> byte_level_split_;  // then its own pattern, if use_regex
};

}  // namespace cacheready
