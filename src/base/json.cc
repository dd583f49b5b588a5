// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <unordered_set>
#include <vector>

#include "base/error.h"

namespace cacheready {
namespace {

constexpr std::size_t kMaxDepth = 128;

[[noreturn]] void FailAt(std::string_view text, std::size_t offset, std::string_view what,
                         std::string reason) {
  constexpr std::size_t kMaxReason = 300;  // a message may quote a token of megabytes
  if (reason.size() > kMaxReason) reason = reason.substr(0, kMaxReason) + "…";
  const std::string_view before = text.substr(0, std::min(offset, text.size()));
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const std::size_t line_begin = before.rfind('\n') + 1;  // npos + 1 is 0
  const std::size_t column = std::max<std::size_t>(1, before.size() - line_begin);
  Fail("{}: line {}, column {}: {}", what, line, column, reason);
}

// Reads characters and tells how many were read, so that errors found by the builder have a place.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, const char** furthest) : at_(at), furthest_(furthest) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    *furthest_ = ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator old = *this;
    ++*this;
    return old;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** furthest_;
};

// Builds the value. Members go straight into the underlying vector of ordered_json's object, whose
// own insertion searches it from the front (quadratic: an index has 10^5 members); the sets find
// the duplicates.
class StrictBuilder {
 public:
  using number_integer_t = Json::number_integer_t;
  using number_unsigned_t = Json::number_unsigned_t;
  using number_float_t = Json::number_float_t;
  using string_t = Json::string_t;
  using binary_t = Json::binary_t;

  StrictBuilder(std::string_view text, std::string_view what) : text_(text), what_(what) {}

  Json Parse() {
    const char* end = text_.data() + text_.size();
    furthest_ = text_.data();
    Json::sax_parse(CountingIterator(text_.data(), &furthest_), CountingIterator(end, &furthest_),
                    this);
    return std::move(root_);
  }

  bool null() { return Add(Json(nullptr)); }
  bool boolean(bool value) { return Add(Json(value)); }
  bool number_integer(number_integer_t value) { return Add(Json(value)); }
  bool number_unsigned(number_unsigned_t value) { return Add(Json(value)); }
  bool number_float(number_float_t value, const string_t&) { return Add(Json(value)); }
  bool string(string_t& value) { return Add(Json(std::move(value))); }
  bool binary(binary_t&) { return false; }
  bool start_object(std::size_t) {
    Open(Json(Json::object()));
    keys_.emplace_back();
    return true;
  }
  bool key(string_t& name) {
    if (!keys_.back().insert(name).second) FailHere(fmt::format("duplicate key '{}'", name));
    key_ = std::move(name);
    return true;
  }
  bool end_object() {
    keys_.pop_back();
    open_.pop_back();
    return true;
  }
  bool start_array(std::size_t) {
    Open(Json(Json::array()));
    return true;
  }
  bool end_array() {
    open_.pop_back();
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const Json::exception& error) {
    // "[json.exception…] parse error at line 1, column 2: reason": the place is put by FailAt.
    std::string reason = error.what();
    const std::size_t tag = reason.find("] ");
    if (tag != std::string::npos) reason = reason.substr(tag + 2);
    const std::size_t place = reason.find(": ");
    if (reason.starts_with("parse error at") && place != std::string::npos) {
      reason = reason.substr(place + 2);
    }
    FailAt(text_, position, what_, std::move(reason));
  }

 private:
  [[noreturn]] void FailHere(std::string reason) {
    FailAt(text_, static_cast<std::size_t>(furthest_ - text_.data()), what_, std::move(reason));
  }

  bool Add(Json&& value) {
    Place(std::move(value));
    return true;
  }

  void Open(Json&& value) {
    if (open_.size() == kMaxDepth) FailHere(fmt::format("nested deeper than {}", kMaxDepth));
    open_.push_back(Place(std::move(value)));
  }

  Json* Place(Json&& value) {
    if (open_.empty()) return &(root_ = std::move(value));
    Json& parent = *open_.back();
    if (parent.is_array()) {
      auto& elements = parent.get_ref<Json::array_t&>();
      return &elements.emplace_back(std::move(value));
    }
    auto& members = static_cast<Json::object_t::Container&>(parent.get_ref<Json::object_t&>());
    return &members.emplace_back(std::move(key_), std::move(value)).second;
  }

  std::string_view text_;
  std::string_view what_;
  const char* furthest_ = nullptr;
  Json root_;
  std::vector<Json*> open_;                            // stable: only the innermost container grows
  std::vector<std::unordered_set<std::string>> keys_;  // of the open objects
  std::string key_;
};

[[noreturn]] void FailType(const Json& value, std::string_view key, std::string_view what,
                           std::string_view expected) {
  const char* article = value.is_array() || value.is_object() ? "an" : "a";
  Fail("{}: key '{}' is {} {}, expected {}", what, key, article, value.type_name(), expected);
}

std::int64_t AsInt(const Json& value, std::string_view key, std::string_view what) {
  if (!value.is_number_integer()) {
    if (value.is_number()) {
      Fail("{}: key '{}' is {}, expected an integer", what, key, value.get<double>());
    }
    FailType(value, key, what, "an integer");
  }
  if (value.is_number_unsigned() &&
      value.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
    Fail("{}: key '{}' is {}, which is too large", what, key, value.get<std::uint64_t>());
  }
  return value.get<std::int64_t>();
}

double AsDouble(const Json& value, std::string_view key, std::string_view what) {
  if (!value.is_number()) FailType(value, key, what, "a number");
  return value.get<double>();
}

std::string AsString(const Json& value, std::string_view key, std::string_view what) {
  if (!value.is_string()) FailType(value, key, what, "a string");
  return value.get<std::string>();
}

}  // namespace

Json ParseJson(std::string_view text, std::string_view what) {
  if (text.starts_with("\xEF\xBB\xBF")) {
    Fail("{}: starts with a byte order mark, expected plain UTF-8; remove the first three bytes",
         what);
  }
  // nlohmann takes a zero byte for the end of the text, and would not see what follows.
  const std::size_t zero = text.find('\0');
  if (zero != std::string_view::npos) FailAt(text, zero + 1, what, "a zero byte");
  return StrictBuilder(text, what).Parse();
}

std::string WriteJson(const Json& value) {
  try {
    return value.dump(2) + "\n";
  } catch (const Json::type_error& error) {
    Fail("a string that is to be written as JSON is not UTF-8: {}", error.what());
  }
}

const Json* FindMember(const Json& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  for (const auto& [name, value] : object.get_ref<const Json::object_t&>()) {
    if (name == key) return value.is_null() ? nullptr : &value;
  }
  return nullptr;
}

const Json& GetMember(const Json& object, std::string_view key, std::string_view what) {
  if (!object.is_object()) {
    Fail("{}: is a JSON {}, expected an object with key '{}'", what, object.type_name(), key);
  }
  const Json* value = FindMember(object, key);
  if (value == nullptr) Fail("{}: key '{}' is missing", what, key);
  return *value;
}

std::int64_t GetInt(const Json& object, std::string_view key, std::string_view what) {
  return AsInt(GetMember(object, key, what), key, what);
}

std::int64_t GetInt(const Json& object, std::string_view key, std::string_view what,
                    std::int64_t fallback) {
  const Json* value = FindMember(object, key);
  return value == nullptr ? fallback : AsInt(*value, key, what);
}

double GetDouble(const Json& object, std::string_view key, std::string_view what) {
  return AsDouble(GetMember(object, key, what), key, what);
}

double GetDouble(const Json& object, std::string_view key, std::string_view what, double fallback) {
  const Json* value = FindMember(object, key);
  return value == nullptr ? fallback : AsDouble(*value, key, what);
}

bool GetBool(const Json& object, std::string_view key, std::string_view what, bool fallback) {
  const Json* value = FindMember(object, key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) FailType(*value, key, what, "true or false");
  return value->get<bool>();
}

std::string GetString(const Json& object, std::string_view key, std::string_view what) {
  return AsString(GetMember(object, key, what), key, what);
}

std::string GetString(const Json& object, std::string_view key, std::string_view what,
                      std::string_view fallback) {
  const Json* value = FindMember(object, key);
  return value == nullptr ? std::string(fallback) : AsString(*value, key, what);
}

}  // namespace cacheready
