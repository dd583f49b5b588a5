// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer_json.h"

#include "base/error.h"

namespace cacheready {

bool RequireBool(const Json& object, std::string_view key, std::string_view what) {
  GetMember(object, key, what);
  return GetBool(object, key, what, false);
}

const Json& RequireArray(const Json& object, std::string_view key, std::string_view what) {
  const Json& array = GetMember(object, key, what);
  if (!array.is_array()) {
    Fail("{}: key '{}' is of type {}, expected an array", what, key, array.type_name());
  }
  return array;
}

std::string_view Shortened(std::string_view token) {
  std::size_t size = 80;
  if (token.size() <= size) return token;
  while (size > 0 && (static_cast<unsigned char>(token[size]) & 0xC0) == 0x80) --size;
  return token.substr(0, size);
}

}  // namespace cacheready
