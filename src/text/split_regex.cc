// SPDX-License-Identifier: Apache-2.0
#include "text/split_regex.h"

#include <cstdint>
#include <utility>

#include "base/error.h"
#include "base/pcre2_pointers.h"

namespace cacheready {
namespace {

// PCRE2's \s under UCP is \p{Z}, \h and \v: White_Space and U+180E, which Unicode took out in 6.3.
constexpr std::string_view kWhiteSpace =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

std::string PcreMessage(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct SplitRegex::Compiled {
  Pcre2Code code;
  Pcre2MatchContext context;
};

std::string PcrePattern(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c != '\\') {
      if (c == '[') in_class = true;
      if (c == ']') in_class = false;
      out += c;
      continue;
    }
    CR_CHECK(i + 1 < pattern.size(), "pattern ends in a backslash");
    const char escaped = pattern[++i];
    if (escaped == 's') {
      out += in_class ? std::string(kWhiteSpace) : fmt::format("[{}]", kWhiteSpace);
    } else if (escaped == 'S') {
      CR_CHECK(!in_class, "\\S inside a class cannot be written out");
      out += fmt::format("[^{}]", kWhiteSpace);
    } else {
      out += c;
      out += escaped;
    }
  }
  return out;
}

SplitRegex::SplitRegex(const SplitPattern& pattern) : compiled_(std::make_unique<Compiled>()) {
  const std::string text = PcrePattern(pattern.pcre.empty() ? pattern.regex : pattern.pcre);
  int error = 0;
  PCRE2_SIZE offset = 0;
  compiled_->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                      PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr));
  CR_CHECK(compiled_->code != nullptr, "split pattern '{}' at {}: {}", text, offset,
           PcreMessage(error));
  // Without JIT (a hardened kernel may forbid it) the interpreter gives the same matches.
  pcre2_jit_compile(compiled_->code.get(), PCRE2_JIT_COMPLETE);
  compiled_->context.reset(pcre2_match_context_create(nullptr));
  CR_CHECK(compiled_->context != nullptr, "out of memory");
  pcre2_set_match_limit(compiled_->context.get(), UINT32_MAX);
  pcre2_set_depth_limit(compiled_->context.get(), UINT32_MAX);
  pcre2_set_heap_limit(compiled_->context.get(), UINT32_MAX);
}

SplitRegex::~SplitRegex() = default;
SplitRegex::SplitRegex(SplitRegex&&) noexcept = default;
SplitRegex& SplitRegex::operator=(SplitRegex&&) noexcept = default;

void SplitRegex::Split(std::string_view text, std::vector<std::string_view>& pieces) const {
  const Pcre2MatchData data(pcre2_match_data_create_from_pattern(compiled_->code.get(), nullptr));
  CR_CHECK(data != nullptr, "out of memory");
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  std::size_t done = 0;
  while (done < text.size()) {
    const int result = pcre2_match(compiled_->code.get(), subject, text.size(), done,
                                   PCRE2_NO_UTF_CHECK, data.get(), compiled_->context.get());
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0) {
      Fail("splitting a text of {} bytes at byte {}: PCRE2 gave up: {}", text.size(), done,
           PcreMessage(result));
    }
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());
    CR_CHECK(bounds[0] >= done && bounds[1] > bounds[0], "a split pattern matched nothing");
    if (bounds[0] > done) pieces.push_back(text.substr(done, bounds[0] - done));
    pieces.push_back(text.substr(bounds[0], bounds[1] - bounds[0]));
    done = bounds[1];
  }
  if (done < text.size()) pieces.push_back(text.substr(done));
}

}  // namespace cacheready
