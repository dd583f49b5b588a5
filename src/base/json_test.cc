// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "base/error_of.h"

namespace cacheready {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

std::string ParseError(std::string_view text) {
  return ErrorOf([&] { ParseJson(text, "f.json"); });
}

TEST(Json, ReadsAllKindsOfValues) {
  const Json value = ParseJson(
      R"( {"z": [1, -2, 3.5, 1e2], "a": {"t": true, "n": null}, "s": "\u00e9\ud83d\ude00\n"} )",
      "f.json");
  EXPECT_EQ(value.at("z").at(0), 1);
  EXPECT_EQ(value.at("z").at(1), -2);
  EXPECT_EQ(value.at("z").at(2), 3.5);
  EXPECT_EQ(value.at("z").at(3), 100.0);
  EXPECT_TRUE(value.at("a").at("t").get<bool>());
  EXPECT_TRUE(value.at("a").at("n").is_null());
  EXPECT_EQ(value.at("s"), "é😀\n");
  EXPECT_EQ(value.begin().key(), "z");  // in the file's order
}

TEST(Json, ReadsABareValue) {
  EXPECT_EQ(ParseJson("7", "f").get<int>(), 7);
  EXPECT_EQ(ParseJson("[]", "f").size(), 0u);
}

TEST(Json, NamesTheFileTheLineAndTheColumnOfAnError) {
  EXPECT_THAT(ParseError("{\n  \"a\": 1,\n  \"b\": x\n}"),
              StartsWith("f.json: line 3, column 8: "));
  EXPECT_THAT(ParseError(""), StartsWith("f.json: line 1, column 1: "));
}

TEST(Json, RefusesADuplicateKeyAlsoWhenItIsEscaped) {
  EXPECT_THAT(ParseError(R"({"x": 1, "x": 2})"), HasSubstr("line 1, column 12: duplicate key 'x'"));
  EXPECT_THAT(ParseError(R"({"x": 1, "\u0078": 2})"), HasSubstr("duplicate key 'x'"));
  EXPECT_THAT(ParseError(R"({"o": {"x": 1, "x": 2}})"), HasSubstr("duplicate key 'x'"));
  EXPECT_EQ(ParseError(R"({"x": {"x": 1}, "y": [{"x": 1}, {"x": 1}]})"), "no error");
}

TEST(Json, RefusesWhatIsNotJson) {
  for (const std::string_view text :
       {"{} x", "{}{}", "[1,]", "{\"a\":1,}", "[01]", "[1.]", "[+1]", "{a: 1}", "['a']", "[NaN]",
        "// c\n{}", "[1", "\"\\ud800\"", "\"\\x\"", "\"a\nb\"", "[1e999]"}) {
    EXPECT_THAT(ParseError(text), StartsWith("f.json: line ")) << text;
  }
}

TEST(Json, RefusesAByteOrderMark) {
  EXPECT_THAT(ParseError("\xEF\xBB\xBF{}"), HasSubstr("byte order mark"));
}

TEST(Json, RefusesAZeroByteAndWhatItHides) {
  EXPECT_THAT(ParseError(std::string_view("{}\0", 3)), HasSubstr("zero byte"));
  EXPECT_THAT(ParseError(std::string_view("{}\0{\"a\":1}", 10)),
              HasSubstr("column 3: a zero byte"));
}

TEST(Json, RefusesInvalidUtf8) {
  for (const std::string_view text :
       {"\"\xFF\"", "\"\xC0\xAF\"", "\"\xED\xA0\x80\"", "\"\xE2\x82\"", "\"\xF5\x80\x80\x80\""}) {
    EXPECT_THAT(ParseError(text), StartsWith("f.json: line 1, column ")) << text;
  }
}

TEST(Json, NestsAsDeepAs128AndNoDeeper) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_EQ(ParseError(nested(128)), "no error");
  EXPECT_THAT(ParseError(nested(129)), HasSubstr("nested deeper than 128"));
  EXPECT_THAT(ParseError(std::string(1'000'000, '[')), HasSubstr("nested deeper than 128"));
  std::string objects;
  for (int i = 0; i < 129; ++i) objects += "{\"a\":";
  EXPECT_THAT(ParseError(objects), HasSubstr("nested deeper than 128"));
}

TEST(Json, ReadsAnObjectWithVeryManyMembers) {
  std::string text = "{";
  for (int i = 0; i < 100'000; ++i) text += fmt::format("{}\"t{}\":{}", i == 0 ? "" : ",", i, i);
  const Json value = ParseJson(text + "}", "f.json");
  EXPECT_EQ(value.size(), 100'000u);
  EXPECT_EQ(value.at("t99999"), 99'999);
}

TEST(Json, WritesTheSameBytesForTheSameValue) {
  Json value;
  value["z"] = 0.1;
  value["a"] = {1, 2};
  value["e"] = "é\"";
  EXPECT_EQ(WriteJson(value),
            "{\n  \"z\": 0.1,\n  \"a\": [\n    1,\n    2\n  ],\n  \"e\": \"é\\\"\"\n}\n");
}

TEST(Json, WritesNumbersThatReadBackAsTheSameBits) {
  for (const double number :
       {0.1, 1.0 / 3, 1e-300, 5e-324, 1.7976931348623157e308, 123456789.125}) {
    EXPECT_EQ(ParseJson(WriteJson(Json(number)), "f").get<double>(), number);
  }
}

TEST(Json, RefusesToWriteInvalidUtf8) { EXPECT_THROW(WriteJson(Json("\xFF")), Error); }

TEST(Json, GettersReturnTheMemberOrTheFallback) {
  const Json object = ParseJson(R"({"i": 7, "d": 0.5, "b": true, "s": "x", "n": null})", "f");
  EXPECT_EQ(GetInt(object, "i", "f"), 7);
  EXPECT_EQ(GetDouble(object, "i", "f"), 7.0);
  EXPECT_EQ(GetDouble(object, "d", "f"), 0.5);
  EXPECT_EQ(GetString(object, "s", "f"), "x");
  EXPECT_TRUE(GetBool(object, "b", "f", false));
  EXPECT_EQ(GetInt(object, "n", "f", 3), 3);
  EXPECT_EQ(GetDouble(object, "absent", "f", 2.5), 2.5);
  EXPECT_EQ(GetString(object, "absent", "f", "y"), "y");
  EXPECT_TRUE(GetBool(object, "n", "f", true));
  EXPECT_EQ(FindMember(object, "n"), nullptr);
  EXPECT_EQ(FindMember(Json(3), "n"), nullptr);
}

TEST(Json, GettersNameTheFileTheKeyAndBothTypes) {
  const Json object =
      ParseJson(R"({"s": "x", "d": 1.5, "a": [], "big": 18446744073709551615})", "f");
  EXPECT_EQ(ErrorOf([&] { GetInt(object, "k", "c.json"); }), "c.json: key 'k' is missing");
  EXPECT_EQ(ErrorOf([&] { GetInt(object, "s", "c.json"); }),
            "c.json: key 's' is a string, expected an integer");
  EXPECT_EQ(ErrorOf([&] { GetInt(object, "d", "c.json", 1); }),
            "c.json: key 'd' is 1.5, expected an integer");
  EXPECT_EQ(ErrorOf([&] { GetString(object, "a", "c.json"); }),
            "c.json: key 'a' is an array, expected a string");
  EXPECT_THAT(ErrorOf([&] { GetInt(object, "big", "c.json"); }), HasSubstr("too large"));
  EXPECT_THAT(ErrorOf([&] { GetBool(object, "s", "c.json", true); }), HasSubstr("is a string"));
  EXPECT_THAT(ErrorOf([&] { GetDouble(object, "s", "c.json", 1.0); }), HasSubstr("a number"));
  EXPECT_THAT(ErrorOf([&] { GetInt(Json::array(), "k", "c.json"); }),
              AllOf(HasSubstr("c.json"), HasSubstr("array"), HasSubstr("'k'")));
}

}  // namespace
}  // namespace cacheready
