// SPDX-License-Identifier: Apache-2.0
#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

#include "base/error.h"

namespace cacheready {
namespace {

constexpr auto kComposeOptions = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);

// Bytes of the code point at `offset` written to `value`, or 0 if it is not well-formed.
std::size_t Decode(std::string_view text, std::size_t offset, utf8proc_int32_t& value) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + offset;
  const auto left = static_cast<utf8proc_ssize_t>(text.size() - offset);
  const utf8proc_ssize_t size = utf8proc_iterate(bytes, left, &value);
  return size > 0 ? static_cast<std::size_t>(size) : 0;
}

struct Range {
  char32_t first;
  char32_t last;
};

// What Unicode 10 to 15 (utf8proc's) added to the tables of Unicode 9: combining marks with a
// non-zero class, and U+11938 with the second half of its decomposition. Left as they are and kept
// from everything around them, as a starter that composes with nothing would be.
constexpr Range kAddedAfterUnicode9[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},
    {0xC3C, 0xC3C},     {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},
    {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0x10D24, 0x10D27},
    {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85},
    {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
    {0x11930, 0x11930}, {0x11938, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943},
    {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99},
    {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42},
    {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE},
    {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}};

bool AddedAfterUnicode9(char32_t c) {
  const auto* range =
      std::lower_bound(std::begin(kAddedAfterUnicode9), std::end(kAddedAfterUnicode9), c,
                       [](const Range& r, char32_t value) { return r.last < value; });
  return range != std::end(kAddedAfterUnicode9) && range->first <= c;
}

std::vector<utf8proc_int32_t> Decompose(std::string_view text) {
  std::vector<utf8proc_int32_t> out;
  out.reserve(text.size());
  for (std::size_t offset = 0; offset < text.size();) {
    utf8proc_int32_t code_point = 0;
    const std::size_t size = Decode(text, offset, code_point);
    CR_CHECK(size > 0, "normalizing text that is not UTF-8");
    offset += size;
    utf8proc_int32_t parts[16];
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(code_point, parts, 16, kComposeOptions, nullptr);
    CR_CHECK(count >= 0 && count <= 16, "canonical decomposition of {} parts", count);
    out.insert(out.end(), parts, parts + count);
  }
  return out;
}

int CombiningClass(utf8proc_int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

// Stable sort of every run of non-starters by combining class. utf8proc's own ordering swaps
// neighbours, which is quadratic in the length of a run.
void OrderMarks(std::vector<utf8proc_int32_t>& code_points) {
  for (auto begin = code_points.begin(); begin != code_points.end();) {
    if (CombiningClass(*begin) == 0) {
      ++begin;
      continue;
    }
    const auto end = std::find_if(begin, code_points.end(),
                                  [](utf8proc_int32_t c) { return CombiningClass(c) == 0; });
    std::stable_sort(begin, end, [](utf8proc_int32_t a, utf8proc_int32_t b) {
      return CombiningClass(a) < CombiningClass(b);
    });
    begin = end;
  }
}

// Of a stretch without any of kAddedAfterUnicode9.
void AppendComposed(std::string_view text, std::string& out) {
  if (IsAscii(text)) {
    out += text;
    return;
  }
  std::vector<utf8proc_int32_t> code_points = Decompose(text);
  OrderMarks(code_points);
  const utf8proc_ssize_t count = utf8proc_normalize_utf32(
      code_points.data(), static_cast<utf8proc_ssize_t>(code_points.size()), kComposeOptions);
  CR_CHECK(count >= 0, "utf8proc: {}", utf8proc_errmsg(count));
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    utf8proc_uint8_t bytes[4];
    const utf8proc_ssize_t size =
        utf8proc_encode_char(code_points[static_cast<std::size_t>(i)], bytes);
    out.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
  }
}

}  // namespace

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

std::size_t FindInvalidUtf8(std::string_view text) {
  for (std::size_t offset = 0; offset < text.size();) {
    utf8proc_int32_t code_point = 0;
    const std::size_t size = Decode(text, offset, code_point);
    if (size == 0) return offset;
    offset += size;
  }
  return std::string_view::npos;
}

std::string Nfc(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  std::size_t done = 0;
  for (std::size_t offset = 0; offset < text.size();) {
    if (static_cast<unsigned char>(text[offset]) < 0x80) {
      ++offset;
      continue;
    }
    const CodePoint next = FirstCodePoint(text.substr(offset));
    if (AddedAfterUnicode9(next.value)) {
      AppendComposed(text.substr(done, offset - done), out);
      out += text.substr(offset, next.size_bytes);
      done = offset + next.size_bytes;
    }
    offset += next.size_bytes;
  }
  AppendComposed(text.substr(done), out);
  return out;
}

bool IsWhiteSpace(char32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool IsWordCharacter(char32_t c) {
  // Other_Alphabetic outside the marks: the circled and squared letters.
  if ((c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
      (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189)) {
    return true;
  }
  if (c == 0x200C || c == 0x200D) return true;  // Join_Control
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

CodePoint FirstCodePoint(std::string_view text) {
  CR_CHECK(!text.empty(), "an empty text has no first code point");
  utf8proc_int32_t value = 0;
  const std::size_t size = Decode(text, 0, value);
  CR_CHECK(size > 0, "text is not UTF-8");
  return {static_cast<char32_t>(value), size};
}

CodePoint LastCodePoint(std::string_view text) {
  CR_CHECK(!text.empty(), "an empty text has no last code point");
  std::size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return FirstCodePoint(text.substr(begin));
}

}  // namespace cacheready
