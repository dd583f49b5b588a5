// Small pieces of Markdown: escaped text, tables, numbers.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cacheready {

inline constexpr std::string_view kNotMeasured = "not measured";

// Text that came from outside (names, paths, messages), safe in a paragraph and in a table cell:
// no markup, no HTML, one line.
std::string EscapeMarkdown(std::string_view text);
// The same as inline code.
std::string CodeSpan(std::string_view text);

class MarkdownTable {
 public:
  explicit MarkdownTable(std::vector<std::string> headers);
  // One cell a header; cells are Markdown already.
  void AddRow(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }
  std::string Text() const;  // ends with a blank line

 private:
  std::vector<std::string> headers_;
  std::vector<std::vector<std::string>> rows_;
};

std::string Count(std::int64_t value);                 // "127,152,313,312"
std::string Count(std::optional<std::int64_t> value);  // or a dash
std::string Figure(std::optional<double> value);       // three significant digits, or a dash
std::string Share(std::optional<double> value);        // "2.5 %", or a dash
std::string Plural(std::int64_t count, std::string_view one, std::string_view many);
std::string ExpertList(std::span<const std::int32_t> members);  // "4, 5, 6"

}  // namespace cacheready
