// SPDX-License-Identifier: Apache-2.0
#include "text/pre_tokenizer.h"

#include "base/error.h"
#include "text/split_patterns.h"
#include "text/tokenizer_json.h"

namespace cacheready {
namespace {

constexpr std::size_t kMostSplits = 16;  // each is compiled; published files have up to 6

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

PreTokenizer PreTokenizer::Parse(const Json* json, std::string_view what) {
  PreTokenizer pre_tokenizer;
  if (json != nullptr) pre_tokenizer.Add(*json, what);
  return pre_tokenizer;
}

PreTokenizer PreTokenizer::ByteLevelWith(const SplitPattern& pattern) {
  PreTokenizer pre_tokenizer;
  pre_tokenizer.splits_.emplace_back(pattern);
  pre_tokenizer.has_byte_level_ = true;
  return pre_tokenizer;
}

void PreTokenizer::Add(const Json& json, std::string_view what) {
  const std::string place = fmt::format("{}: pre_tokenizer", what);
  const std::string type = GetString(json, "type", place);
  if (type == "Sequence") {
    for (const Json& part : RequireArray(json, "pretokenizers", place)) Add(part, what);
    return;
  }
  if (has_byte_level_ || metaspace_) {
    Fail("{}: pre_tokenizer '{}' after {} is not supported (it must be the last)", what,
         Shortened(type), has_byte_level_ ? "ByteLevel" : "Metaspace");
  }
  if (type == "Split") {
    AddSplit(json, place + " Split");
  } else if (type == "Digits") {
    const bool each = GetBool(json, "individual_digits", place, false);
    AddPattern(each ? DigitPattern() : DigitsPattern(), place);
  } else if (type == "ByteLevel") {
    AddByteLevel(json, place);
  } else if (type == "Metaspace") {
    metaspace_ = Metaspace::Parse(json, place);
  } else {
    Fail(
        "{}: pre_tokenizer '{}' is not supported (supported: none, Split, Digits, ByteLevel, "
        "Metaspace, Sequence of those)",
        what, Shortened(type));
  }
}

void PreTokenizer::AddByteLevel(const Json& json, std::string_view place) {
  has_byte_level_ = true;
  add_prefix_space_ = RequireBool(json, "add_prefix_space", place);
  if (GetBool(json, "use_regex", place, true)) byte_level_split_.emplace(Gpt2Pattern());
}

void PreTokenizer::AddSplit(const Json& json, std::string_view place) {
  const std::string behavior = GetString(json, "behavior", place);
  if (behavior != "Isolated") {
    Fail("{}: behavior '{}' is not supported (supported: Isolated)", place, Shortened(behavior));
  }
  if (RequireBool(json, "invert", place)) Fail("{}: invert true is not supported", place);
  const std::string regex =
      GetString(GetMember(json, "pattern", place), "Regex", fmt::format("{} pattern", place));
  const SplitPattern* pattern = FindSplitPattern(regex);
  if (pattern == nullptr) {
    Fail("{}: pattern '{}' is not one of the supported:{}", place, regex.substr(0, 1000),
         KnownPatterns());
  }
  AddPattern(*pattern, place);
}

void PreTokenizer::AddPattern(const SplitPattern& pattern, std::string_view place) {
  if (splits_.size() == kMostSplits) Fail("{}: more than {} splits", place, kMostSplits);
  splits_.emplace_back(pattern);
}

// Only the first piece can begin the text.
std::vector<std::string_view> PreTokenizer::SplitMetaspace(
    const std::vector<std::string_view>& pieces, bool begins,
    std::deque<std::string>& storage) const {
  std::vector<std::string_view> out;
  for (const std::string_view piece : pieces) {
    metaspace_->Split(piece, begins, storage, out);
    begins = false;
  }
  return out;
}

std::vector<std::string_view> PreTokenizer::Split(std::string_view text, bool begins,
                                                  std::deque<std::string>& storage) const {
  std::vector<std::string_view> pieces;
  if (!text.empty()) pieces.push_back(text);
  for (const SplitRegex& split : splits_) pieces = SplitAll(split, pieces);
  if (metaspace_) return SplitMetaspace(pieces, begins, storage);
  if (add_prefix_space_) {
    for (std::string_view& piece : pieces) {
      if (piece.front() != ' ') piece = storage.emplace_back(fmt::format(" {}", piece));
    }
  }
  return byte_level_split_ ? SplitAll(*byte_level_split_, pieces) : pieces;
}

}  // namespace cacheready
