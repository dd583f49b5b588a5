// Rendition noise: what serving does to one expert's output on the same input. The unit in which
// distances between experts are judged.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "arithmetic/profile.h"
#include "model/model.h"
#include "tensor/matrix.h"

namespace cacheready {

struct NoiseSource {
  const Profile* profile = nullptr;
  std::uint64_t seed = 0;
  std::int64_t layer = 0;
  Numerics numerics = Numerics::kFp32Chain;  // of what is served; the reference is fp32
};

// |found - reference| / |reference| per row; 0 if both are zero, 1 if only the reference is.
std::vector<float> RelativeDistances(const Matrix& found, const Matrix& reference);

// What becomes of one expert's outputs, per row.
struct ExpertErrors {
  // nu_e(t) = |f_e(x; profile, dithered weights) - f_e(x; fp32)| / |f_e(x; fp32)|. The dither is
  // seeded by (seed, layer, expert); the matrices of an expert differ by their tensors.
  std::vector<float> noise;
  // |f_e(x; class) - f_e(x; fp32)| / |f_e(x; fp32)|; empty for the fp32 class.
  std::vector<float> of_class;
};
ExpertErrors MeasureErrors(const MoeBlock& moe, std::int64_t expert, const Matrix& x,
                           std::span<const std::int32_t> rows, const NoiseSource& source);
// Noise alone.
std::vector<float> RenditionNoise(const MoeBlock& moe, std::int64_t expert, const Matrix& x,
                                  std::span<const std::int32_t> rows, const NoiseSource& source);

// RMS over the samples of each expert; an expert without a sample gets the median of the others, as
// it can never have evidence but is still compared. Zero if no expert has a sample.
std::vector<double> NoisePerExpert(std::span<const std::vector<float>> noise);

}  // namespace cacheready
