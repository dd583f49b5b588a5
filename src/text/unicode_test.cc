// Every code point assigned in Unicode 13 is what the engines of the `tokenizers` library take it
// for (goldens/tokenizer/unicode_classes.json). SPDX-License-Identifier: Apache-2.0
#include "text/unicode.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/json.h"
#include "io/mapped_file.h"
#include "text/split_regex.h"

namespace cacheready {
namespace {

std::string ToUtf8(char32_t c) {
  std::string out;
  if (c < 0x80) return out += static_cast<char>(c);
  const int trailing = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  const int lead = trailing == 1 ? 0xC0 : trailing == 2 ? 0xE0 : 0xF0;
  out += static_cast<char>(lead | static_cast<int>(c >> (6 * trailing)));
  for (int i = trailing - 1; i >= 0; --i) {
    out += static_cast<char>(0x80 | static_cast<int>((c >> (6 * i)) & 0x3F));
  }
  return out;
}

class UnicodeClasses : public testing::Test {
 protected:
  std::set<char32_t> Members(const std::string& name) const {
    std::set<char32_t> members;
    const Json& flat = classes_.at(name);
    for (std::size_t i = 0; i < flat.size(); i += 2) {
      for (auto c = flat.at(i).get<char32_t>(); c <= flat.at(i + 1).get<char32_t>(); ++c) {
        members.insert(c);
      }
    }
    return members;
  }

  void ExpectClass(const std::string& name, const std::function<bool(char32_t)>& is_member) const {
    const std::set<char32_t> members = Members(name);
    EXPECT_FALSE(members.empty());
    for (const char32_t c : assigned_) {
      ASSERT_EQ(is_member(c), members.contains(c))
          << name << " U+" << std::hex << static_cast<unsigned>(c);
    }
  }

  const Json classes_ = ParseJson(
      ReadTextFile(std::string(CACHEREADY_SOURCE_DIR) + "/goldens/tokenizer/unicode_classes.json"),
      "unicode_classes.json");
  const std::set<char32_t> assigned_ = Members("assigned");
};

TEST_F(UnicodeClasses, RegexClassesAreThoseOfOniguruma) {
  for (const std::string name : {"\\s", "\\p{L}", "\\p{N}", "\\p{M}", "\\p{P}", "\\p{S}", "\\p{Lu}",
                                 "\\p{Ll}", "\\p{Lt}", "\\p{Lm}", "\\p{Lo}", "\\p{Han}"}) {
    const std::string ours = name == "\\p{Han}" ? "\\p{sc:Han}" : name;
    const std::string in_class = "[" + ours + "]";
    const std::string after_tilde = "~" + ours;
    const SplitRegex inside(SplitPattern{"in a class", in_class});
    const SplitRegex outside(
        SplitPattern{"outside", after_tilde});  // after "~" a member is one piece with it
    ExpectClass(name, [&](char32_t c) {
      std::vector<std::string_view> pieces;
      const std::string doubled = ToUtf8(c) + ToUtf8(c);  // two pieces if it matches, one if not
      inside.Split(doubled, pieces);
      const bool is_inside = pieces.size() == 2;
      pieces.clear();
      const std::string behind = fmt::format("~{0}~{0}", ToUtf8(c));
      outside.Split(behind, pieces);
      EXPECT_EQ(is_inside, pieces.size() == 2) << "U+" << std::hex << static_cast<unsigned>(c);
      return is_inside;
    });
  }
}

TEST_F(UnicodeClasses, NotSpaceIsTheComplementOfSpace) {
  const SplitRegex not_space(SplitPattern{"not space", "~\\S"});
  const std::set<char32_t> space = Members("\\s");
  for (const char32_t c : assigned_) {
    std::vector<std::string_view> pieces;
    const std::string text = fmt::format("~{0}~{0}", ToUtf8(c));
    not_space.Split(text, pieces);
    ASSERT_EQ(pieces.size() == 2, !space.contains(c)) << std::hex << static_cast<unsigned>(c);
  }
}

TEST_F(UnicodeClasses, FlagsOfAddedTokensSeeTheLibrarysWordsAndSpaces) {
  // The two private characters are the markers with which the library was asked.
  const auto marker = [](char32_t c) { return c == 0xE000 || c == 0xE001; };
  ExpectClass("\\w of flags", [&](char32_t c) { return !marker(c) && IsWordCharacter(c); });
  ExpectClass("\\s of flags", [&](char32_t c) { return !marker(c) && IsWhiteSpace(c); });
}

TEST_F(UnicodeClasses, ComposesEveryCharacterAsTheLibraryDoes) {
  std::string composed;
  for (const char32_t c : assigned_) composed += Nfc(ToUtf8(c));
  EXPECT_EQ(Sha256Hex(composed), classes_.at("nfc_sha256").get<std::string>());
}

TEST(Unicode, SortsMarksByClassAndKeepsEqualOnesInOrder) {
  // U+0323 (220) goes before U+0301 (230); U+0301 and U+0300 are both 230 and block each other.
  EXPECT_EQ(Nfc("q\u0301\u0323"), "q\u0323\u0301");
  EXPECT_EQ(Nfc("e\u0301\u0323"), "\u1EB9\u0301");
  EXPECT_EQ(Nfc("q\u0301\u0300"), "q\u0301\u0300");
  EXPECT_EQ(Nfc("\u1112\u1161\u11AB"), "\uD55C");
  EXPECT_EQ(Nfc("\u212B"), "\u00C5");
  EXPECT_EQ(Nfc(std::string("a\0b", 3)), std::string("a\0b", 3));
  EXPECT_EQ(Nfc(""), "");
}

TEST(Unicode, LeavesMarksYoungerThanUnicode9WhereTheyAre) {
  // U+08D3 (Unicode 11, class 220) is a starter in the tables of Unicode 9: it neither moves behind
  // U+061A (class 30) nor lets U+0301 reach the letter before it.
  EXPECT_EQ(Nfc("q\u08D3\u061A"), "q\u08D3\u061A");
  EXPECT_EQ(Nfc("e\u08D3\u0301"), "e\u08D3\u0301");
  EXPECT_EQ(Nfc("e\u0301\u08D3e\u0301"), "\u00E9\u08D3\u00E9");
  EXPECT_EQ(Nfc("\U00011935\U00011930"), "\U00011935\U00011930");
  EXPECT_EQ(Nfc("\U00011938"), "\U00011938");
}

TEST(Unicode, FindsTheFirstByteThatIsNotUtf8) {
  EXPECT_EQ(FindInvalidUtf8("plain ☃ 😀"), std::string_view::npos);
  EXPECT_EQ(FindInvalidUtf8("ab\xFF"), 2u);
  EXPECT_EQ(FindInvalidUtf8("ab\xC3"), 2u);             // cut
  EXPECT_EQ(FindInvalidUtf8("\xC0\x80"), 0u);           // overlong
  EXPECT_EQ(FindInvalidUtf8("\xED\xA0\x80"), 0u);       // surrogate
  EXPECT_EQ(FindInvalidUtf8("a\xF4\x90\x80\x80"), 1u);  // above U+10FFFF
  EXPECT_EQ(FindInvalidUtf8("a\xE2\x98"), 1u);
  EXPECT_EQ(FindInvalidUtf8("\x80"), 0u);
}

TEST(Unicode, TakesTheLastCodePointWhole) {
  EXPECT_EQ(LastCodePoint("a☃").value, U'☃');
  EXPECT_EQ(LastCodePoint("a☃").size_bytes, 3u);
  EXPECT_EQ(FirstCodePoint("😀b").value, U'😀');
  EXPECT_EQ(FirstCodePoint("😀b").size_bytes, 4u);
}

}  // namespace
}  // namespace cacheready
