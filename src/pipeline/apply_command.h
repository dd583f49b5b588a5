// Writing a checkpoint as a stage of the main job.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/json.h"
#include "writer/writer.h"

namespace cacheready {

LinkMode ParseLinkMode(const std::string& name);  // Fails listing the names
// Warns on stderr about what a reader of OUT should know, and returns the result's JSON.
Json TellWritten(const WriteResult& result, const std::string& out, bool dry_run);
std::string WrittenText(const WriteResult& result, const std::string& out, bool dry_run);

}  // namespace cacheready
