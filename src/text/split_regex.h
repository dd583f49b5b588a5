// A regular expression that cuts text into pieces, with the meaning that Oniguruma (the engine of
// the `tokenizers` library) gives it. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/split_patterns.h"

namespace cacheready {

class SplitRegex {
 public:
  // Our own constant (split_patterns.h), so a pattern that does not compile is our mistake.
  explicit SplitRegex(const SplitPattern& pattern);
  ~SplitRegex();
  SplitRegex(SplitRegex&&) noexcept;
  SplitRegex& operator=(SplitRegex&&) noexcept;

  // Appends every match and every gap between matches, in order, to `pieces` ("Isolated"): together
  // they are the whole `text`. Requires well-formed UTF-8. Fails if the engine gives up.
  // Thread-safe.
  void Split(std::string_view text, std::vector<std::string_view>& pieces) const;

 private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
};

// The pattern as PCRE2 must be given it: \s and \S written out as Unicode White_Space.
std::string PcrePattern(std::string_view pattern);

}  // namespace cacheready
