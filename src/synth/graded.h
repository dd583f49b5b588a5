// Graded pairs: experts that are copies plus weight noise of a chosen size, so that a decision
// threshold can be approached from both sides.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace cacheready {

struct GradedOptions {
  // scales[layer][j]: expert 2j + 1 = expert 2j + noise of this relative norm, in each of its
  // stored matrices. One entry for each main routed layer in ascending order; pairs may differ in
  // number from layer to layer.
  std::vector<std::vector<double>> scales;
  double row_noise = 0.01;  // as in PlantedOptions
  std::uint64_t seed = 1;
};

// Writes the graded copy of `source` (fused plain experts) as `out`: same files, headers and
// layout. The noise of a pair points in one direction whatever its scale. Fails if the experts are
// not fused or not BF16, F16 or F32, or if `scales` does not fit.
void WriteGraded(const Checkpoint& source, const GradedOptions& options,
                 const std::filesystem::path& out);

// The fused weights that WriteGraded gives expert 2 * pair + 1 of a layer for a scale, widened from
// the stored dtype: for measuring a scale without writing a checkpoint.
struct GradedExpert {
  std::vector<float> gate_up;  // [2 I, H]
  std::vector<float> down;     // [H, I]
};
GradedExpert MakeGradedExpert(const Checkpoint& source, std::size_t layer, std::int64_t pair,
                              double scale, std::uint64_t seed);

// The noise scale at which a measured distance reaches `target`.
struct NoiseScale {
  double scale = 0;
  double measured = 0;  // measure(scale)
};
// Doubles or halves `start` until `target` is bracketed, then bisects until measure is within
// `tolerance` * target, at most 60 calls in all; the closest scale seen is returned. `measure` is
// taken to rise with the scale. Fails if 30 doublings or halvings do not bracket the target.
NoiseScale FindNoiseScale(double target, double start, double tolerance,
                          const std::function<double(double)>& measure);

}  // namespace cacheready
