// What the formulas of this folder share.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

namespace cacheready {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

// An index that is never negative, as containers take it.
inline std::size_t At(std::int64_t index) { return static_cast<std::size_t>(index); }

}  // namespace cacheready
