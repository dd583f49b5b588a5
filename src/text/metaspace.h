// The Metaspace pre-tokenizer: spaces made visible, as SentencePiece does.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace cacheready {

class Metaspace {
 public:
  // `place` names file and component.
  static Metaspace Parse(const Json& json, std::string_view place);

  // Appends the pieces of the non-empty `text`, which are views of a new string in `storage`.
  // `begins` tells whether it is the beginning of what was given to be tokenized.
  void Split(std::string_view text, bool begins, std::deque<std::string>& storage,
             std::vector<std::string_view>& pieces) const;

  bool depends_on_beginning() const { return prepend_ == Prepend::kFirst; }

 private:
  enum class Prepend { kAlways, kFirst, kNever };

  std::string replacement_;  // one code point
  Prepend prepend_ = Prepend::kAlways;
  bool split_ = true;
};

}  // namespace cacheready
