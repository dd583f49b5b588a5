// Whether a numerics class is exact enough to measure what a scan measures.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "arithmetic/numerics.h"
#include "scan/noise.h"

namespace cacheready {

// Noise must be this many times the class's error: then the error adds 3 % to a distance of one
// unit.
inline constexpr double kNoiseOverClassError = 4.0;

// RMS over the experts that have rows of each one's RMS error over its rows, see ExpertErrors. 0
// for the fp32 class, and if no expert has a row.
double ClassError(std::span<const ExpertErrors> experts);

// Which layer is judged, for whom.
struct JudgedLayer {
  std::int64_t layer = 0;
  std::string profile;
};

// Fails, naming layer, class, error and noise, if the RMS noise of the experts that have rows is
// below kNoiseOverClassError times the class's error.
void RequirePreciseClass(std::span<const ExpertErrors> experts, Numerics numerics,
                         const JudgedLayer& judged);

}  // namespace cacheready
