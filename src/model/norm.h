// RMS norms with their weights.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "arithmetic/profile.h"
#include "model/weight_reader.h"
#include "tensor/matrix.h"

namespace cacheready {

struct Norm {
  std::vector<float> weight;
  float eps = 1e-6f;
  float offset = 0;  // 1 for zero-centred weights: x / rms(x) * (1 + weight)
};

// `module`.weight, [width].
Norm OpenNorm(const WeightReader& weights, const std::string& module, std::int64_t width,
              double eps, float offset);

Matrix RunNorm(const Arithmetic& arithmetic, const Norm& norm, const Matrix& x);
// Over each consecutive slice of norm.weight.size() columns: per head, or over a whole projection.
void RunNormSlices(const Arithmetic& arithmetic, const Norm& norm, Matrix& x);

}  // namespace cacheready
