// SPDX-License-Identifier: Apache-2.0
#include "report/json_reader.h"

#include <fmt/format.h>

#include <utility>

#include "base/error.h"

namespace cacheready {

JsonReader::JsonReader(const Json* value, std::string what)
    : value_(value && !value->is_null() ? value : nullptr), what_(std::move(what)) {
  if (value_ && !value_->is_object()) {
    Fail("{}: is {}, expected an object", what_, value_->type_name());
  }
}

const Json* JsonReader::Find(std::string_view key) const {
  return value_ ? FindMember(*value_, key) : nullptr;
}

JsonReader JsonReader::Object(std::string_view key) const {
  return {Find(key), fmt::format("{}: {}", what_, key)};
}

std::vector<JsonReader> JsonReader::Array(std::string_view key) const {
  std::vector<JsonReader> elements;
  const Json* array = Find(key);
  if (!array) return elements;
  if (!array->is_array()) Fail("{}: key '{}' is no array", what_, key);
  for (std::size_t i = 0; i < array->size(); ++i) {
    elements.emplace_back(&array->at(i), fmt::format("{}: {}[{}]", what_, key, i));
  }
  return elements;
}

std::optional<double> JsonReader::Double(std::string_view key) const {
  if (!Find(key)) return std::nullopt;
  return GetDouble(*value_, key, what_);
}

std::optional<std::int64_t> JsonReader::Int(std::string_view key) const {
  if (!Find(key)) return std::nullopt;
  return GetInt(*value_, key, what_);
}

std::optional<bool> JsonReader::Bool(std::string_view key) const {
  if (!Find(key)) return std::nullopt;
  return GetBool(*value_, key, what_, false);
}

std::string JsonReader::String(std::string_view key) const {
  return Find(key) ? GetString(*value_, key, what_) : std::string();
}

std::vector<std::string> JsonReader::Strings(std::string_view key) const {
  std::vector<std::string> strings;
  const Json* array = Find(key);
  if (!array) return strings;
  for (const Json& element : *array) {
    if (!element.is_string())
      Fail("{}: key '{}' holds {}, expected text", what_, key, element.dump());
    strings.push_back(element.get<std::string>());
  }
  return strings;
}

std::vector<std::int32_t> JsonReader::Experts(std::string_view key) const {
  std::vector<std::int32_t> experts;
  const Json* array = Find(key);
  if (!array) return experts;
  for (const Json& element : *array) {
    if (!element.is_number_integer()) {
      Fail("{}: key '{}' holds {}, expected an expert number", what_, key, element.dump());
    }
    experts.push_back(element.get<std::int32_t>());
  }
  return experts;
}

std::optional<std::int64_t> JsonReader::CountOf(std::string_view key) const {
  const Json* found = Find(key);
  if (!found) return std::nullopt;
  if (found->is_array()) return static_cast<std::int64_t>(found->size());
  return Int(key);
}

}  // namespace cacheready
