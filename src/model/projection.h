// A weight matrix with its bias, where it has one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "arithmetic/profile.h"
#include "model/weight_reader.h"
#include "tensor/matrix.h"

namespace cacheready {

struct Projection {
  EncodedMatrixPtr weight;  // [out, in]
  std::vector<float> bias;  // [out], or empty
};

struct ProjectionShape {
  std::int64_t rows = 0, cols = 0;
  bool bias = false;
};
// `module`.weight and, where the shape says so, `module`.bias.
Projection OpenProjection(const WeightReader& weights, const std::string& module,
                          const ProjectionShape& shape);

Matrix RunProjection(const Arithmetic& arithmetic, Role role, const Projection& projection,
                     LinearInput& x);

}  // namespace cacheready
