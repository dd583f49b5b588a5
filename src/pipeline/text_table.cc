// SPDX-License-Identifier: Apache-2.0
#include "pipeline/text_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace cacheready {
namespace {

// Display width: code points, which is right for the Latin, Greek and arrows used here.
std::size_t WidthOf(const std::string& cell) {
  return static_cast<std::size_t>(std::count_if(cell.begin(), cell.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::string Padded(const std::string& cell, std::size_t width, bool left) {
  const std::string blanks(width - std::min(width, WidthOf(cell)), ' ');
  return left ? fmt::format("{}{}", cell, blanks) : fmt::format("{}{}", blanks, cell);
}

std::string WithoutTrailingBlanks(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

}  // namespace

std::string TextTable::Text() const {
  std::vector<std::size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], WidthOf(row[c]));
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (c > 0) line.append(2, ' ');
      line.append(Padded(row[c], widths[c], c == 0));
    }
    text.append(WithoutTrailingBlanks(std::move(line))).push_back('\n');
  }
  return text;
}

std::string FactList::Text() const {
  std::size_t width = 0;
  for (const auto& [name, value] : facts_) width = std::max(width, WidthOf(name));
  std::string text;
  for (const auto& [name, value] : facts_) {
    text.append(WithoutTrailingBlanks(fmt::format("{}  {}", Padded(name, width, true), value)))
        .push_back('\n');
  }
  return text;
}

std::string PlainText(std::string markdown) {
  std::erase(markdown, '*');
  std::erase(markdown, '`');
  std::erase(markdown, '\\');
  return markdown;
}

std::string Grouped(std::int64_t value) {
  const std::string digits = std::to_string(value);
  std::string grouped;
  for (std::size_t n = 0; n < digits.size(); ++n) {
    const bool after_digit = n > 0 && digits[n - 1] != '-';
    if (after_digit && (digits.size() - n) % 3 == 0) grouped.push_back(',');
    grouped.push_back(digits[n]);
  }
  return grouped;
}

std::string ByteText(std::uint64_t bytes) {
  constexpr std::array kUnits = {"kB", "MB", "GB", "TB"};
  if (bytes < 1000) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1000;
  std::size_t unit = 0;
  while (value >= 999.95 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string PercentText(double share) { return fmt::format("{:.2f} %", 100 * share); }

std::string NatsText(double value) { return fmt::format("{:.3g}", value); }

}  // namespace cacheready
