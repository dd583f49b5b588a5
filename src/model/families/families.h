// What families.cc knows of each file in this folder: whether a config is meant for it, and how it
// describes a checkpoint.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <memory>
#include <string_view>

#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "model/model.h"

namespace cacheready {

// True if the config's model_type is one of these.
bool HasModelType(const Json& config, std::initializer_list<std::string_view> types);

bool MatchesQwen35Moe(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribeQwen35Moe(const Checkpoint& checkpoint);

}  // namespace cacheready
