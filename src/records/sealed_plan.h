// A plan that proves its own bytes: as it lies inside a checkpoint, with a last key "sha256".
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace cacheready {

// The canonical text of the plan with "sha256" as its last key: the hash of the canonical text
// without it. A seal that is already there is made anew. Fails if the text is no JSON object.
std::string SealPlan(std::string_view plan_json);

// The plan's JSON without the seal. Fails, naming `what`, unless `text` is exactly what SealPlan
// makes: one changed byte anywhere, blanks and the seal included, is found.
Json CheckSealedPlan(std::string_view text, std::string_view what);

}  // namespace cacheready
