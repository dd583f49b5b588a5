// SPDX-License-Identifier: Apache-2.0
#include "model/projection.h"

namespace cacheready {

Projection OpenProjection(const WeightReader& weights, const std::string& module,
                          const ProjectionShape& shape) {
  Projection projection;
  projection.weight = weights.Open(module, shape.rows, shape.cols);
  if (shape.bias) projection.bias = weights.Values(module + ".bias", {shape.rows});
  return projection;
}

Matrix RunProjection(const Arithmetic& arithmetic, Role role, const Projection& projection,
                     LinearInput& x) {
  return Linear(arithmetic, role, *projection.weight, x, projection.bias);
}

}  // namespace cacheready
