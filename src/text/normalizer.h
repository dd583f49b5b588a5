// The `normalizer` of a tokenizer.json. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace cacheready {

class Normalizer {
 public:
  // null, NFC, Prepend, Replace of a literal, or a Sequence of those. Fails on others by name;
  // `what` names the file.
  static Normalizer Parse(const Json* json, std::string_view what);

  // Requires well-formed UTF-8. Fails if the result is more than 64 times as long: no tokenizer
  // does that, but a file can ask for it.
  std::string Normalize(std::string_view text) const;
  bool changes_nothing() const { return steps_.empty(); }

 private:
  enum class Kind { kNfc, kPrepend, kReplace };
  struct Step {
    Kind kind = Kind::kNfc;
    std::string pattern;  // of kReplace
    std::string content;
  };
  void Add(const Json& json, std::string_view what);

  std::vector<Step> steps_;
};

}  // namespace cacheready
