// JSON as writers of checkpoints make it, read several times as fast as any JSON is: objects,
// arrays, unsigned integers, and strings of printable ASCII without escapes. The headers and the
// index of a large model are tens of megabytes of that.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cacheready {

// Calls `reader` as nlohmann's sax_parse would: start_object, key, string, number_unsigned, ...;
// what it throws passes through. False if the text is not plain from its first to its last byte, or
// the reader returned false: nothing is said then about what is wrong, and a real parser has to
// read the text from the beginning, with a reader that has seen nothing.
template <typename Reader>
class PlainJson {
 public:
  PlainJson(std::string_view text, Reader& reader)
      : at_(text.data()), end_(text.data() + text.size()), reader_(reader) {}

  bool Read() {
    if (!Value(0)) return false;
    SkipBlanks();
    return at_ == end_;
  }

 private:
  static constexpr int kMaxDepth = 8;
  static constexpr int kMaxDigits = 19;  // always fit 64 bits
  static constexpr std::size_t kUnknownSize = static_cast<std::size_t>(-1);

  void SkipBlanks() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
  }
  // Blanks and then this character?
  bool Take(char wanted) {
    SkipBlanks();
    if (at_ == end_ || *at_ != wanted) return false;
    ++at_;
    return true;
  }

  bool Value(int depth) {
    if (depth > kMaxDepth) return false;
    if (Take('{')) return Object(depth);
    if (Take('[')) return Array(depth);
    if (Take('"')) return String() && reader_.string(text_);
    return Number();
  }

  bool Object(int depth) {
    if (!reader_.start_object(kUnknownSize)) return false;
    if (Take('}')) return reader_.end_object();
    do {
      if (!Take('"') || !String() || !reader_.key(text_) || !Take(':')) return false;
      if (!Value(depth + 1)) return false;
    } while (Take(','));
    return Take('}') && reader_.end_object();
  }

  bool Array(int depth) {
    if (!reader_.start_array(kUnknownSize)) return false;
    if (Take(']')) return reader_.end_array();
    do {
      if (!Value(depth + 1)) return false;
    } while (Take(','));
    return Take(']') && reader_.end_array();
  }

  // After the opening quote, to behind the closing one.
  bool String() {
    const char* begin = at_;
    for (; at_ != end_ && *at_ != '"'; ++at_) {
      if (*at_ < 0x20 || *at_ > 0x7E || *at_ == '\\') return false;
    }
    if (at_ == end_) return false;
    text_.assign(begin, at_);
    ++at_;
    return true;
  }

  bool Number() {
    const char* begin = at_;
    std::uint64_t value = 0;
    for (; at_ != end_ && *at_ >= '0' && *at_ <= '9'; ++at_) {
      if (at_ - begin == kMaxDigits) return false;
      value = 10 * value + static_cast<std::uint64_t>(*at_ - '0');
    }
    if (at_ == begin || (*begin == '0' && at_ - begin > 1)) return false;
    if (at_ != end_ && (*at_ == '.' || *at_ == 'e' || *at_ == 'E')) return false;
    return reader_.number_unsigned(value);
  }

  const char* at_;
  const char* end_;
  Reader& reader_;
  std::string text_;  // readers may move it away
};

}  // namespace cacheready
