// The same checkpoint in other files: what must not change any result.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>

#include "checkpoint/checkpoint.h"

namespace cacheready {

// Writes all tensors of `source`, bytes unchanged, in a random order dealt out over `shards` files
// of the new or empty folder `out`. Fails if there are fewer tensors than shards.
void WriteShuffled(const Checkpoint& source, std::int64_t shards, std::uint64_t seed,
                   const std::filesystem::path& out);

}  // namespace cacheready
