// JSON in and out: nlohmann's ordered_json, read strictly and written canonically.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace cacheready {

using Json = nlohmann::ordered_json;

// Fails (naming `what`, with line and column) on a syntax error, invalid UTF-8, a duplicate key,
// trailing bytes, or nesting deeper than 128.
Json ParseJson(std::string_view text, std::string_view what);

// Two-space indent, keys in insertion order, shortest round-trip numbers, one trailing newline:
// same value, same bytes.
std::string WriteJson(const Json& value);

// Typed member access. Get… fails with "`what`: key 'k' is missing / is a string, expected a
// number"; the ones with a fallback return it if the key is absent or null, and still fail on a
// wrong type.
const Json& GetMember(const Json& object, std::string_view key, std::string_view what);
std::int64_t GetInt(const Json& object, std::string_view key, std::string_view what);
std::int64_t GetInt(const Json& object, std::string_view key, std::string_view what,
                    std::int64_t fallback);
double GetDouble(const Json& object, std::string_view key, std::string_view what);
double GetDouble(const Json& object, std::string_view key, std::string_view what, double fallback);
bool GetBool(const Json& object, std::string_view key, std::string_view what, bool fallback);
std::string GetString(const Json& object, std::string_view key, std::string_view what);
std::string GetString(const Json& object, std::string_view key, std::string_view what,
                      std::string_view fallback);
const Json* FindMember(const Json& object, std::string_view key);  // nullptr if absent or null

}  // namespace cacheready
