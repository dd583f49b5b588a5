// Whether a numerics class is exact enough to measure what a scan measures.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "arithmetic/numerics.h"
#include "model/model.h"
#include "tensor/matrix.h"

namespace cacheready {

// Noise must be this many times the class's error: then the error adds 3 % to a distance of one
// unit.
inline constexpr double kNoiseOverClassError = 4.0;

// RMS over the experts that have rows of each one's error: RMS over its rows of |f_e(x; class) -
// f_e(x; fp32)| / |f_e(x; fp32)|. 0 for the fp32 class, and if no expert has a row.
double ClassError(const MoeBlock& moe, const Matrix& x,
                  std::span<const std::vector<std::int32_t>> rows, Numerics numerics);

// What is known of a layer when its class is judged.
struct LayerUnit {
  std::int64_t layer = 0;
  std::string profile;
  std::span<const double> noise;  // [experts], rendition noise on `rows`
};

// Fails, naming layer, class, error and noise, if the RMS noise of the experts that have rows is
// below kNoiseOverClassError times the class's error.
void RequirePreciseClass(const MoeBlock& moe, const Matrix& x,
                         std::span<const std::vector<std::int32_t>> rows, Numerics numerics,
                         const LayerUnit& unit);

}  // namespace cacheready
