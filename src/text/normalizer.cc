// SPDX-License-Identifier: Apache-2.0
#include "text/normalizer.h"

#include "base/error.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"

namespace cacheready {
namespace {

constexpr std::size_t kMostSteps = 64;  // each goes through the text; published files have 4

void CheckSize(std::size_t size, std::size_t limit) {
  if (size <= limit) return;
  Fail("the normalizer makes {} bytes of a text, more than 64 times its length", size);
}

std::size_t Count(std::string_view text, std::string_view pattern) {
  std::size_t count = 0;
  for (std::size_t at = text.find(pattern); at != std::string_view::npos;
       at = text.find(pattern, at + pattern.size())) {
    ++count;
  }
  return count;
}

// The leftmost occurrence, then the leftmost behind it, and so on.
std::string ReplaceAll(std::string_view text, std::string_view pattern, std::string_view content,
                       std::size_t limit) {
  const std::size_t count = Count(text, pattern);
  const std::size_t size = text.size() - count * pattern.size() + count * content.size();
  CheckSize(size, limit);
  std::string out;
  out.reserve(size);
  std::size_t done = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = text.find(pattern, done);
    out += text.substr(done, at - done);
    out += content;
    done = at + pattern.size();
  }
  return out += text.substr(done);
}

}  // namespace

Normalizer Normalizer::Parse(const Json* json, std::string_view what) {
  Normalizer normalizer;
  if (json != nullptr) normalizer.Add(*json, what);
  return normalizer;
}

void Normalizer::Add(const Json& json, std::string_view what) {
  const std::string place = fmt::format("{}: normalizer", what);
  const std::string type = GetString(json, "type", place);
  if (steps_.size() == kMostSteps) Fail("{}: more than {} steps", place, kMostSteps);
  if (type == "Sequence") {
    for (const Json& part : RequireArray(json, "normalizers", place)) Add(part, what);
  } else if (type == "NFC") {
    steps_.push_back({Kind::kNfc, "", ""});
  } else if (type == "Prepend") {
    steps_.push_back({Kind::kPrepend, "", GetString(json, "prepend", place)});
  } else if (type == "Replace") {
    const std::string pattern =
        GetString(GetMember(json, "pattern", place), "String", place + " Replace pattern");
    const std::string content = GetString(json, "content", place);
    // Nothing is everywhere; and what is put in a text's place must leave something of it.
    if (pattern.empty() || content.empty()) {
      Fail("{}: Replace of '{}' by '{}' is not supported (both must be non-empty)", place,
           Shortened(pattern), Shortened(content));
    }
    steps_.push_back({Kind::kReplace, pattern, content});
  } else {
    Fail(
        "{}: normalizer '{}' is not supported (supported: none, NFC, Prepend, Replace, Sequence "
        "of those)",
        what, Shortened(type));
  }
}

std::string Normalizer::Normalize(std::string_view text) const {
  std::string normal(text);
  if (normal.empty()) return normal;
  const std::size_t limit = 64 * (text.size() + 64);  // a short text may be given a prefix
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Kind::kNfc:
        normal = Nfc(normal);
        break;
      case Kind::kPrepend:
        normal.insert(0, step.content);
        break;
      case Kind::kReplace:
        normal = ReplaceAll(normal, step.pattern, step.content, limit);
        break;
    }
    CheckSize(normal.size(), limit);
  }
  return normal;
}

}  // namespace cacheready
