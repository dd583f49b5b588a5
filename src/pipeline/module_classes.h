// The tensors of a checkpoint counted by what people call the modules they belong to.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "checkpoint/checkpoint.h"

namespace cacheready {

struct ModuleTotals {
  std::int64_t tensors = 0;
  std::uint64_t bytes = 0;
  std::set<std::string> dtypes;   // of all tensors, scales and biases included
  std::set<std::string> formats;  // of the weight matrices: "bf16", "fp8-block", ...
};

// By class: "routers" are the tensors named, the others go by parts of their names ("routed
// experts", "shared experts", "mixers", "vision", ...; "other").
std::map<std::string, ModuleTotals> CountModules(const Checkpoint& checkpoint,
                                                 const std::set<std::string>& routers);

}  // namespace cacheready
