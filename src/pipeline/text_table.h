// Aligned columns for people's eyes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cacheready {

// Columns as wide as their widest cell, two blanks between; the first column to the left, the
// others to the right.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> headers) : rows_{std::move(headers)} {}
  void AddRow(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  std::string Text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// Lines "name   value" with the values aligned.
class FactList {
 public:
  void Add(std::string name, std::string value) {
    facts_.emplace_back(std::move(name), std::move(value));
  }
  std::string Text() const;

 private:
  std::vector<std::pair<std::string, std::string>> facts_;
};

std::string PlainText(std::string markdown);  // one line without emphasis and code marks
std::string Grouped(std::int64_t value);      // 127,152,313,312
std::string ByteText(std::uint64_t bytes);    // "127.2 GB", decimal units
std::string PercentText(double share);        // "2.53 %"
std::string NatsText(double value);           // "0.00472"

}  // namespace cacheready
