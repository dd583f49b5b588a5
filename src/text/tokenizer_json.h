// Reading members of a tokenizer.json, which may be hostile.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "base/json.h"

namespace cacheready {

// Fail if the member is absent or of another type; `what` names the object.
bool RequireBool(const Json& object, std::string_view key, std::string_view what);
const Json& RequireArray(const Json& object, std::string_view key, std::string_view what);

// At most the first 80 bytes, whole code points: a token in a message may be megabytes long.
std::string_view Shortened(std::string_view token);

}  // namespace cacheready
