// SPDX-License-Identifier: Apache-2.0
#include "text/pre_tokenizer.h"

#include "base/error.h"
#include "text/split_patterns.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"

namespace cacheready {
namespace {

std::vector<std::string_view> SplitAll(const SplitRegex& regex,
                                       const std::vector<std::string_view>& pieces) {
  std::vector<std::string_view> out;
  for (const std::string_view piece : pieces) regex.Split(piece, out);
  return out;
}

std::string KnownPatterns() {
  std::string out;
  for (const SplitPattern& pattern : SplitPatterns()) {
    out += fmt::format("\n  {}: {}", pattern.name, pattern.regex);
  }
  return out;
}

}  // namespace

Normalizer Normalizer::Parse(const Json* json, std::string_view what) {
  Normalizer normalizer;
  if (json == nullptr) return normalizer;
  const std::string place = fmt::format("{}: normalizer", what);
  const std::string type = GetString(*json, "type", place);
  if (type == "NFC") {
    normalizer.nfc_ = true;
  } else if (type == "Sequence") {
    for (const Json& part : RequireArray(*json, "normalizers", place)) {
      normalizer.nfc_ |= Parse(&part, what).nfc_;
    }
  } else {
    Fail("{}: normalizer '{}' is not supported (supported: none, NFC, Sequence of those)", what,
         Shortened(type));
  }
  return normalizer;
}

std::string Normalizer::Normalize(std::string_view text) const {
  return nfc_ ? Nfc(text) : std::string(text);
}

PreTokenizer PreTokenizer::Parse(const Json* json, std::string_view what) {
  PreTokenizer pre_tokenizer;
  if (json != nullptr) pre_tokenizer.Add(*json, what);
  if (!pre_tokenizer.has_byte_level_) {
    Fail("{}: pre_tokenizer without ByteLevel is not supported (only byte-level BPE is)", what);
  }
  return pre_tokenizer;
}

void PreTokenizer::Add(const Json& json, std::string_view what) {
  const std::string place = fmt::format("{}: pre_tokenizer", what);
  const std::string type = GetString(json, "type", place);
  if (type == "Sequence") {
    for (const Json& part : RequireArray(json, "pretokenizers", place)) Add(part, what);
    return;
  }
  if (type != "Split" && type != "ByteLevel") {
    Fail("{}: pre_tokenizer '{}' is not supported (supported: Split, ByteLevel, Sequence of those)",
         what, Shortened(type));
  }
  if (has_byte_level_) {
    Fail("{}: pre_tokenizer '{}' after ByteLevel is not supported (ByteLevel must be the last)",
         what, Shortened(type));
  }
  if (type == "Split") return AddSplit(json, what);
  has_byte_level_ = true;
  add_prefix_space_ = RequireBool(json, "add_prefix_space", place);
  if (GetBool(json, "use_regex", place, true)) byte_level_split_.emplace(Gpt2Pattern().regex);
}

void PreTokenizer::AddSplit(const Json& json, std::string_view what) {
  const std::string place = fmt::format("{}: pre_tokenizer Split", what);
  const std::string behavior = GetString(json, "behavior", place);
  if (behavior != "Isolated") {
    Fail("{}: behavior '{}' is not supported (supported: Isolated)", place, Shortened(behavior));
  }
  if (RequireBool(json, "invert", place)) Fail("{}: invert true is not supported", place);
  const std::string regex =
      GetString(GetMember(json, "pattern", place), "Regex", place + " pattern");
  const SplitPattern* pattern = FindSplitPattern(regex);
  if (pattern == nullptr) {
    Fail("{}: pattern '{}' is not one of the supported:{}", place, regex.substr(0, 1000),
         KnownPatterns());
  }
  splits_.emplace_back(pattern->regex);
}

std::vector<std::string_view> PreTokenizer::Split(std::string_view text,
                                                  std::deque<std::string>& storage) const {
  std::vector<std::string_view> pieces;
  if (!text.empty()) pieces.push_back(text);
  for (const SplitRegex& split : splits_) pieces = SplitAll(split, pieces);
  if (add_prefix_space_) {
    for (std::string_view& piece : pieces) {
      if (piece.front() != ' ') piece = storage.emplace_back(fmt::format(" {}", piece));
    }
  }
  return byte_level_split_ ? SplitAll(*byte_level_split_, pieces) : pieces;
}

}  // namespace cacheready
