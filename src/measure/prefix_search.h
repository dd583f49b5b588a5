// Which prefix of the groups, cheapest first, is small enough in what it does: found in two passes,
// since a pass costs a reading of the checkpoint and many prefixes share it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "records/plan.h"

namespace cacheready {

// Indices of the groups by rising cost (numbers.cost_taken; without one: last), ties by (layer,
// first member).
std::vector<std::size_t> OrderByCost(std::span<const PlannedGroup> groups);

// Sizes of the prefixes of the first pass: 100, 75, 50 and 25 % of `groups`, rounded up, falling,
// each once.
std::vector<std::size_t> FirstPrefixes(std::size_t groups);
// Sizes of the second pass: up to three evenly spaced strictly between `accepted` and `refused`,
// then `accepted` itself unless it is 0; falling.
std::vector<std::size_t> SecondPrefixes(std::size_t accepted, std::size_t refused);

// Measures the prefixes of these sizes side by side in one pass; says of each whether it is
// accepted.
using PrefixJudge = std::function<std::vector<bool>(std::span<const std::size_t> sizes)>;

// The size of the largest accepted prefix, 0 if none; `judge` is called at most twice, and the
// prefix returned was accepted in the last call.
std::size_t FindLargestAccepted(std::size_t groups, const PrefixJudge& judge);

}  // namespace cacheready
