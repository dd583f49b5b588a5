// Reading optional numbers out of another stage's JSON: absent or null is "not measured", a wrong
// type is an error that names the place.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace cacheready {

// One JSON value, or the absence of one, with its place for messages. Valid while the JSON lives.
class JsonReader {
 public:
  JsonReader(const Json* value, std::string what);

  explicit operator bool() const { return value_ != nullptr; }
  JsonReader Object(std::string_view key) const;
  std::vector<JsonReader> Array(std::string_view key) const;  // empty if absent
  std::optional<double> Double(std::string_view key) const;
  std::optional<std::int64_t> Int(std::string_view key) const;
  std::optional<bool> Bool(std::string_view key) const;
  std::string String(std::string_view key) const;                // "" if absent
  std::vector<std::string> Strings(std::string_view key) const;  // empty if absent
  std::vector<std::int32_t> Experts(std::string_view key) const;
  // Number of elements, or the number itself where the stage gives a count.
  std::optional<std::int64_t> CountOf(std::string_view key) const;
  const Json* Find(std::string_view key) const;
  const std::string& what() const { return what_; }

 private:
  const Json* value_;
  std::string what_;
};

}  // namespace cacheready
