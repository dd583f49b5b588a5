// SPDX-License-Identifier: Apache-2.0
#include "report/markdown.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace cacheready {
namespace {

constexpr std::string_view kDash = "–";

bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

void AppendRow(const std::vector<std::string>& cells, std::string* text) {
  *text += '|';
  for (const std::string& cell : cells) *text += fmt::format(" {} |", cell);
  *text += '\n';
}

}  // namespace

std::string EscapeMarkdown(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (IsControl(c)) {
      escaped += ' ';
    } else if (c == '<') {
      escaped += "&lt;";
    } else if (c == '>') {
      escaped += "&gt;";
    } else if (c == '&') {
      escaped += "&amp;";
    } else {
      if (std::string_view(R"(\`*_{}[]()#|!~$)").find(c) != std::string_view::npos) escaped += '\\';
      escaped += c;
    }
  }
  return escaped;
}

// A fence longer than any run of backticks inside; '|' still ends a table cell inside code, so it
// is escaped as table readers expect.
std::string CodeSpan(std::string_view text) {
  std::string body;
  std::size_t run = 0, longest = 0;
  for (const char c : text) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
    if (c == '|') body += '\\';
    body += IsControl(c) ? ' ' : c;
  }
  if (body.empty()) return std::string(kDash);
  const std::string fence(longest + 1, '`');
  const std::string_view pad = longest > 0 ? " " : "";
  return fmt::format("{0}{1}{2}{1}{0}", fence, pad, body);
}

MarkdownTable::MarkdownTable(std::vector<std::string> headers) : headers_(std::move(headers)) {}

void MarkdownTable::AddRow(std::vector<std::string> cells) {
  CR_CHECK(cells.size() == headers_.size(), "{} cells under {} headers", cells.size(),
           headers_.size());
  rows_.push_back(std::move(cells));
}

std::string MarkdownTable::Text() const {
  std::string text;
  AppendRow(headers_, &text);
  AppendRow(std::vector<std::string>(headers_.size(), "---"), &text);
  for (const auto& row : rows_) AppendRow(row, &text);
  return text + '\n';
}

std::string Count(std::int64_t value) {
  const std::string digits = fmt::format("{}", value);
  std::string text;
  for (std::size_t at = 0; at < digits.size(); ++at) {
    const bool starts_thousand = (digits.size() - at) % 3 == 0;
    if (starts_thousand && at > 0 && digits[at - 1] != '-') text += ',';
    text += digits[at];
  }
  return text;
}

std::string Count(std::optional<std::int64_t> value) {
  return value ? Count(*value) : std::string(kDash);
}

std::string Figure(std::optional<double> value) {
  return value ? fmt::format("{:.3g}", *value) : std::string(kDash);
}

std::string Share(std::optional<double> value) {
  return value ? fmt::format("{:.3g} %", 100 * *value) : std::string(kDash);
}

std::string Plural(std::int64_t count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", Count(count), count == 1 ? one : many);
}

std::string ExpertList(std::span<const std::int32_t> members) {
  return fmt::format("{}", fmt::join(members, ", "));
}

}  // namespace cacheready
