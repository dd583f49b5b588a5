// SPDX-License-Identifier: Apache-2.0
#include "model/rotary.h"

#include "base/error.h"
#include "base/math.h"

namespace cacheready {

Rotary ReadRotary(const ConfigReader& config, std::int64_t head_dim,
                  const RotaryDefaults& defaults) {
  const ConfigReader parameters = config.Object("rope_parameters");
  const ConfigReader scaling = config.Object("rope_scaling");  // the name before transformers 5
  parameters.RequireText("rope_type", "default");
  scaling.RequireText("rope_type", "default");
  scaling.RequireText("type", "default");

  const double theta = parameters.Number("rope_theta", config.Number("rope_theta", defaults.theta));
  const double partial = parameters.Number(
      "partial_rotary_factor", config.Number("partial_rotary_factor", defaults.partial));
  Rotary rotary;
  rotary.head_dim = head_dim;
  rotary.rotary_dim = static_cast<std::int64_t>(static_cast<double>(head_dim) * partial);
  if (!(theta > 0) || rotary.rotary_dim < 2 || rotary.rotary_dim > head_dim ||
      rotary.rotary_dim % 2 != 0) {
    Fail("{}: rope_theta {} and partial_rotary_factor {} rotate {} of {} columns of a head",
         config.what(), theta, partial, rotary.rotary_dim, head_dim);
  }
  for (std::int64_t i = 0; i < rotary.rotary_dim; i += 2) {
    const double exponent = static_cast<double>(i) / static_cast<double>(rotary.rotary_dim);
    rotary.inv_freq.push_back(static_cast<float>(Pow(theta, -exponent)));
  }
  return rotary;
}

void RunRotary(const Arithmetic& arithmetic, const Rotary& rotary, DocumentBounds documents,
               Matrix& x) {
  RotateHalves(x, rotary.head_dim, rotary.rotary_dim, rotary.inv_freq, rotary.factor, documents);
  Round(arithmetic, RoundingPoint::kRotary, x.values());
}

}  // namespace cacheready
