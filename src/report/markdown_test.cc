// SPDX-License-Identifier: Apache-2.0
#include "report/markdown.h"

#include <gtest/gtest.h>

namespace cacheready {
namespace {

TEST(Markdown, EscapesWhatWouldEndACellOrOpenMarkup) {
  EXPECT_EQ(EscapeMarkdown("a|b"), "a\\|b");
  EXPECT_EQ(EscapeMarkdown("<script>&"), "&lt;script&gt;&amp;");
  EXPECT_EQ(EscapeMarkdown("two\nlines\r"), "two lines ");
  EXPECT_EQ(EscapeMarkdown("[x](y) *z* `c`"), "\\[x\\]\\(y\\) \\*z\\* \\`c\\`");
  EXPECT_EQ(EscapeMarkdown("日本 – ‖"), "日本 – ‖");
}

TEST(Markdown, FencesCodeLongerThanAnyBackticksInside) {
  EXPECT_EQ(CodeSpan("plain"), "`plain`");
  EXPECT_EQ(CodeSpan("a`b``c"), "``` a`b``c ```");
  EXPECT_EQ(CodeSpan("a|b\nc"), "`a\\|b c`");
}

TEST(Markdown, WritesTables) {
  MarkdownTable table({"a", "b"});
  EXPECT_TRUE(table.empty());
  table.AddRow({"1", "2"});
  EXPECT_EQ(table.Text(), "| a | b |\n| --- | --- |\n| 1 | 2 |\n\n");
}

TEST(Markdown, GroupsDigitsByThousands) {
  EXPECT_EQ(Count(std::int64_t{0}), "0");
  EXPECT_EQ(Count(std::int64_t{999}), "999");
  EXPECT_EQ(Count(std::int64_t{127152313312}), "127,152,313,312");
  EXPECT_EQ(Count(std::int64_t{-123456}), "-123,456");
  EXPECT_EQ(Count(std::int64_t{-1234567}), "-1,234,567");
}

TEST(Markdown, ShowsThreeDigitsOrADash) {
  EXPECT_EQ(Figure(0.0103456), "0.0103");
  EXPECT_EQ(Share(0.0253), "2.53 %");
  EXPECT_EQ(Share(1.0), "100 %");
  EXPECT_EQ(Figure(std::nullopt), "–");
  EXPECT_EQ(Count(std::optional<std::int64_t>{}), "–");
  EXPECT_EQ(Plural(1, "group", "groups"), "1 group");
  EXPECT_EQ(Plural(2048, "group", "groups"), "2,048 groups");
}

}  // namespace
}  // namespace cacheready
