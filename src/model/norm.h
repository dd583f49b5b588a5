// RMS norms and layer norms with their weights.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "arithmetic/profile.h"
#include "model/weight_reader.h"
#include "tensor/matrix.h"

namespace cacheready {

enum class NormKind : std::uint8_t {
  kRms,   // x / rms(x) * (offset + weight)
  kLayer  // (x - mean) / deviation(x) * weight + bias
};

struct Norm {
  std::vector<float> weight;
  float eps = 1e-6f;
  float offset = 0;              // 1 for zero-centred weights
  std::vector<float> bias = {};  // of a layer norm; empty: an RMS norm
};

// RMS norm: `module`.weight, [width].
Norm OpenNorm(const WeightReader& weights, const std::string& module, std::int64_t width,
              double eps, float offset);
// Layer norm: `module`.weight and `module`.bias, [width].
Norm OpenLayerNorm(const WeightReader& weights, const std::string& module, std::int64_t width,
                   double eps);

Matrix RunNorm(const Arithmetic& arithmetic, const Norm& norm, const Matrix& x);
// An RMS norm over each consecutive slice of norm.weight.size() columns: per head, or over a whole
// projection.
void RunNormSlices(const Arithmetic& arithmetic, const Norm& norm, Matrix& x);

}  // namespace cacheready
