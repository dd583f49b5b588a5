// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/plain_json.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "base/json.h"

namespace cacheready {
namespace {

// All events as text.
class Recorder final : public Json::json_sax_t {
 public:
  bool null() override { return Add("null"); }
  bool boolean(bool value) override { return Add(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return Add(fmt::format("i{}", value)); }
  bool number_unsigned(number_unsigned_t value) override { return Add(fmt::format("u{}", value)); }
  bool number_float(number_float_t, const string_t& text) override { return Add("f" + text); }
  bool string(string_t& value) override { return Add("s" + std::exchange(value, "")); }
  bool binary(binary_t&) override { return Add("binary"); }
  bool start_object(std::size_t) override { return Add("{"); }
  bool key(string_t& name) override { return Add("k" + std::exchange(name, "")); }
  bool end_object() override { return Add("}"); }
  bool start_array(std::size_t) override { return Add("["); }
  bool end_array() override { return Add("]"); }
  bool parse_error(std::size_t, const std::string&, const Json::exception&) override {
    return false;
  }
  const std::string& events() const { return events_; }

 private:
  bool Add(const std::string& event) {
    events_ += event + '\n';
    return true;
  }
  std::string events_;
};

TEST(PlainJson, TellsWhatAParserTells) {
  for (const std::string_view text :
       {"{}", "[]", " 7 ", "\"\"", R"({"a.b": {"dtype": "F8_E4M3", "shape": [], "x": [0, 128]}})",
        "{\"a\":1,\r\n\t\"b\" : [ [1] , {} ,\"~ }\" ]}   ", "9223372036854775807"}) {
    Recorder found, expected;
    EXPECT_TRUE(PlainJson(text, found).Read()) << text;
    EXPECT_TRUE(Json::sax_parse(text, &expected)) << text;
    EXPECT_EQ(found.events(), expected.events()) << text;
  }
}

TEST(PlainJson, LeavesTheRestToAParser) {
  for (const std::string_view text : {"",
                                      " ",
                                      "{",
                                      "}",
                                      "[1",
                                      "[1,]",
                                      "[,1]",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{\"a\":1,}",
                                      "{1:2}",
                                      "{\"a\":1}}",
                                      "{} {}",
                                      "null",
                                      "true",
                                      "-1",
                                      "01",
                                      "1.5",
                                      "1e3",
                                      "18446744073709551616",
                                      "\"a\\n\"",
                                      "\"\\u0061\"",
                                      "\"ä\"",
                                      "\"a\tb\"",
                                      "\"a",
                                      "'a'",
                                      "\xEF\xBB\xBF{}",
                                      "// c\n1",
                                      "[[[[[[[[[[1]]]]]]]]]]"}) {
    Recorder found;
    EXPECT_FALSE(PlainJson(text, found).Read()) << text;
  }
  Recorder found;
  EXPECT_FALSE(PlainJson(std::string_view("{\"a\0\": 1}", 9), found).Read());
  EXPECT_FALSE(PlainJson(std::string_view("{}\0", 3), found).Read());
}

}  // namespace
}  // namespace cacheready
