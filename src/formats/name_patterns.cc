// SPDX-License-Identifier: Apache-2.0
#include "formats/name_patterns.h"

#include <utility>

#include "base/error.h"
#include "base/pcre2_pointers.h"

namespace cacheready {
namespace {

// Steps of one match, and of one nesting: far above what a pattern over module names takes.
constexpr std::uint32_t kMatchLimit = 100'000;
constexpr std::uint32_t kHeapLimitKib = 1'024;

std::string PcreMessage(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

// The name with the prefix that text-only checkpoints have.
std::string Canonical(std::string_view name) {
  constexpr std::pair<std::string_view, std::string_view> kPrefixes[] = {
      {"model.language_model.", "model."},
      {"language_model.model.", "model."},
      {"language_model.", ""},
  };
  for (const auto& [prefix, plain] : kPrefixes) {
    if (name.starts_with(prefix)) {
      return std::string(plain) + std::string(name.substr(prefix.size()));
    }
  }
  return std::string(name);
}

const std::string* FindEntry(const std::map<std::string, std::string, std::less<>>& entries,
                             std::string_view name) {
  const auto found = entries.find(name);
  return found == entries.end() ? nullptr : &found->second;
}

// A glob as a regular expression for the whole name or a name above it.
std::string GlobRegex(std::string_view glob) {
  std::string regex = "(?s)";
  for (std::size_t i = 0; i < glob.size(); ++i) {
    const char c = glob[i];
    const std::size_t close = glob.find(']', i + 2);
    if (c == '*') {
      if (!regex.ends_with(".*")) regex += ".*";
    } else if (c == '?') {
      regex += '.';
    } else if (c == '[' && close != std::string_view::npos) {
      std::string set(glob.substr(i + 1, close - i - 1));
      if (set.front() == '!') set.front() = '^';
      regex += '[' + set + ']';
      i = close;
    } else {
      const bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '_' ||
                           static_cast<unsigned char>(c) >= 0x80;
      if (!is_word) regex += '\\';
      regex += c;
    }
  }
  return regex + R"((?:\..*)?\z)";
}

}  // namespace

struct NamePatterns::Regex {
  std::string entry;
  Pcre2Code code;

  bool Matches(std::string_view name) const {
    const Pcre2MatchData data(pcre2_match_data_create_from_pattern(code.get(), nullptr));
    const Pcre2MatchContext context(pcre2_match_context_create(nullptr));
    CR_CHECK(data != nullptr && context != nullptr, "out of memory");
    pcre2_set_match_limit(context.get(), kMatchLimit);
    pcre2_set_heap_limit(context.get(), kHeapLimitKib);
    const int result = pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(name.data()),
                                   name.size(), 0, 0, data.get(), context.get());
    if (result >= 0) return true;
    if (result == PCRE2_ERROR_NOMATCH) return false;
    Fail("quantization config: pattern '{}' cannot be matched with '{}': {}", entry, name,
         PcreMessage(result));
  }
};

NamePatterns::NamePatterns() = default;
NamePatterns::~NamePatterns() = default;
NamePatterns::NamePatterns(NamePatterns&&) noexcept = default;
NamePatterns& NamePatterns::operator=(NamePatterns&&) noexcept = default;

void NamePatterns::AddName(const std::string& name) { names_.emplace(Canonical(name), name); }
void NamePatterns::AddTree(const std::string& name) { trees_.emplace(Canonical(name), name); }
void NamePatterns::AddEnding(const std::string& name) { endings_.emplace(name, name); }
void NamePatterns::AddText(const std::string& text) {
  if (!text.empty()) texts_.push_back(text);
}

void NamePatterns::AddGlob(const std::string& glob) {
  if (glob.find_first_of("*?[") == std::string::npos) return AddTree(glob);
  AddCompiled(glob, GlobRegex(glob), "a glob");
}

void NamePatterns::AddRegex(const std::string& regex, std::string_view what) {
  AddCompiled(regex, regex, what);
}

void NamePatterns::AddCompiled(const std::string& entry, const std::string& pattern,
                               std::string_view what) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  Regex regex{entry, nullptr};
  regex.code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                 PCRE2_ANCHORED | PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &error,
                                 &offset, nullptr));
  if (regex.code == nullptr) {
    Fail("{}: '{}' is no pattern of module names: {} at {}", what, entry, PcreMessage(error),
         offset);
  }
  regexes_.push_back(std::move(regex));
}

bool NamePatterns::empty() const {
  return names_.empty() && trees_.empty() && endings_.empty() && texts_.empty() && regexes_.empty();
}

const std::string* NamePatterns::Find(std::string_view module) const {
  const std::string canonical = Canonical(module);
  if (const std::string* entry = FindEntry(names_, canonical)) return entry;
  const std::string_view name = canonical;
  for (std::size_t end = name.size(); end != std::string_view::npos && !trees_.empty();
       end = end == 0 ? std::string_view::npos : name.rfind('.', end - 1)) {
    if (const std::string* entry = FindEntry(trees_, name.substr(0, end))) return entry;
  }
  for (std::size_t begin = 0; begin != std::string_view::npos && !endings_.empty();) {
    if (const std::string* entry = FindEntry(endings_, name.substr(begin))) return entry;
    const std::size_t dot = name.find('.', begin);
    begin = dot == std::string_view::npos ? dot : dot + 1;
  }
  for (const std::string& text : texts_) {
    if (module.find(text) != std::string_view::npos) return &text;
  }
  for (const Regex& regex : regexes_) {
    if (regex.Matches(module) || (name != module && regex.Matches(name))) return &regex.entry;
  }
  return nullptr;
}

}  // namespace cacheready
