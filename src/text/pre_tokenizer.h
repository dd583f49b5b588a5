// The `pre_tokenizer` of a tokenizer.json: text to the pieces that the model merges.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/metaspace.h"
#include "text/split_regex.h"

namespace cacheready {

// A list of splits, then at most one of ByteLevel and Metaspace.
class PreTokenizer {
 public:
  static PreTokenizer Parse(const Json* json, std::string_view what);

  // One split of a known pattern, then bytes: tiktoken's only shape.
  static PreTokenizer ByteLevelWith(const SplitPattern& pattern);

  // Whether the model sees bytes, written in GPT-2's alphabet, or characters.
  bool is_byte_level() const { return has_byte_level_; }
  bool depends_on_beginning() const { return metaspace_ && metaspace_->depends_on_beginning(); }

  // Pieces of `text`, in order, none empty. Views of `text` or, where they differ from it, of
  // `storage` (a deque: growing it moves nothing). `begins` tells whether `text` is the beginning
  // of what was given to be tokenized.
  std::vector<std::string_view> Split(std::string_view text, bool begins,
                                      std::deque<std::string>& storage) const;

 private:
  void Add(const Json& json, std::string_view what);
  void AddSplit(const Json& json, std::string_view place);
  void AddPattern(const SplitPattern& pattern, std::string_view place);
  void AddByteLevel(const Json& json, std::string_view place);
  std::vector<std::string_view> SplitMetaspace(const std::vector<std::string_view>& pieces,
                                               bool begins, std::deque<std::string>& storage) const;

  std::vector<SplitRegex> splits_;
  std::optional<Metaspace> metaspace_;
  bool has_byte_level_ = false;
  bool add_prefix_space_ = false;               // of ByteLevel: to every piece that the splits left
  std::optional<SplitRegex> byte_level_split_;  // then its own pattern, if use_regex
};

}  // namespace cacheready
