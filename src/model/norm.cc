// SPDX-License-Identifier: Apache-2.0
#include "model/norm.h"

#include "compute/sequence_ops.h"

namespace cacheready {

Norm OpenNorm(const WeightReader& weights, const std::string& module, std::int64_t width,
              double eps, float offset) {
  return {.weight = weights.Values(module + ".weight", {width}),
          .eps = static_cast<float>(eps),
          .offset = offset};
}

Matrix RunNorm(const Arithmetic& arithmetic, const Norm& norm, const Matrix& x) {
  Matrix y = RmsNorm(x, norm.weight, norm.eps, norm.offset);
  Round(arithmetic, RoundingPoint::kNorm, y.values());
  return y;
}

void RunNormSlices(const Arithmetic& arithmetic, const Norm& norm, Matrix& x) {
  RmsNormSlices(x, static_cast<std::int64_t>(norm.weight.size()), norm.weight, norm.eps,
                norm.offset);
  Round(arithmetic, RoundingPoint::kNorm, x.values());
}

}  // namespace cacheready
