// SPDX-License-Identifier: Apache-2.0
#include "model/norm.h"

#include "base/error.h"
#include "compute/sequence_ops.h"

namespace cacheready {

Norm OpenNorm(const WeightReader& weights, const std::string& module, std::int64_t width,
              double eps, float offset) {
  return {.weight = weights.Values(module + ".weight", {width}),
          .eps = static_cast<float>(eps),
          .offset = offset};
}

Norm OpenLayerNorm(const WeightReader& weights, const std::string& module, std::int64_t width,
                   double eps) {
  Norm norm = OpenNorm(weights, module, width, eps, 0.0f);
  norm.bias = weights.Values(module + ".bias", {width});
  return norm;
}

Matrix RunNorm(const Arithmetic& arithmetic, const Norm& norm, const Matrix& x) {
  Matrix y = norm.bias.empty() ? RmsNorm(x, norm.weight, norm.eps, norm.offset)
                               : LayerNorm(x, norm.weight, norm.bias, norm.eps);
  Round(arithmetic, RoundingPoint::kNorm, y.values());
  return y;
}

void RunNormSlices(const Arithmetic& arithmetic, const Norm& norm, Matrix& x) {
  CR_CHECK(norm.bias.empty(), "a layer norm over slices");
  RmsNormSlices(x, static_cast<std::int64_t>(norm.weight.size()), norm.weight, norm.eps,
                norm.offset);
  Round(arithmetic, RoundingPoint::kNorm, x.values());
}

}  // namespace cacheready
