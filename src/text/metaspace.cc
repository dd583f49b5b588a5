// SPDX-License-Identifier: Apache-2.0
#include "text/metaspace.h"

#include <algorithm>

#include "base/error.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"

namespace cacheready {

Metaspace Metaspace::Parse(const Json& json, std::string_view place) {
  Metaspace metaspace;
  metaspace.replacement_ = GetString(json, "replacement", place);
  const std::string& replacement = metaspace.replacement_;
  if (replacement.empty() || FirstCodePoint(replacement).size_bytes != replacement.size()) {
    Fail("{}: Metaspace replacement '{}' is not one character", place, Shortened(replacement));
  }
  const std::string scheme = GetString(json, "prepend_scheme", place, "always");
  if (scheme == "always") {
    metaspace.prepend_ = Prepend::kAlways;
  } else if (scheme == "first") {
    metaspace.prepend_ = Prepend::kFirst;
  } else if (scheme == "never") {
    metaspace.prepend_ = Prepend::kNever;
  } else {
    Fail("{}: Metaspace prepend_scheme '{}' is not supported (supported: always, first, never)",
         place, Shortened(scheme));
  }
  // The older name of prepend_scheme; `tokenizers` refuses a contradiction too.
  if (!GetBool(json, "add_prefix_space", place, true) && metaspace.prepend_ != Prepend::kNever) {
    Fail("{}: Metaspace add_prefix_space false contradicts prepend_scheme '{}'", place, scheme);
  }
  metaspace.split_ = GetBool(json, "split", place, true);
  return metaspace;
}

void Metaspace::Split(std::string_view text, bool begins, std::deque<std::string>& storage,
                      std::vector<std::string_view>& pieces) const {
  std::string& visible = storage.emplace_back();
  const bool prepend = prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && begins);
  if (prepend && text.front() != ' ' && !text.starts_with(replacement_)) visible = replacement_;
  const auto spaces = static_cast<std::size_t>(std::count(text.begin(), text.end(), ' '));
  visible.reserve(visible.size() + text.size() + replacement_.size() * spaces);
  for (const char c : text) {
    if (c == ' ') {
      visible += replacement_;
    } else {
      visible += c;
    }
  }
  std::string_view rest = visible;
  while (split_) {  // every replacement begins a piece
    const std::size_t next = rest.find(replacement_, 1);
    if (next == std::string_view::npos) break;
    pieces.push_back(rest.substr(0, next));
    rest.remove_prefix(next);
  }
  pieces.push_back(rest);
}

}  // namespace cacheready
