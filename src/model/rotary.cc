// SPDX-License-Identifier: Apache-2.0
#include "model/rotary.h"

#include "base/error.h"
#include "base/math.h"
#include "model/rotary_scaling.h"

namespace cacheready {

ConfigReader RotaryParameters(const ConfigReader& config) {
  const ConfigReader parameters =
      config.Object(config.Has("rope_scaling") ? "rope_scaling" : "rope_parameters");
  for (const char* kind : {"full_attention", "sliding_attention", "chunked_attention"}) {
    if (!parameters.Has(kind)) continue;
    Fail(
        "{}: key '{}' gives a kind of layers its own positions, and only one object for all is "
        "implemented",
        parameters.what(), kind);
  }
  return parameters;
}

Rotary ReadRotary(const ConfigReader& config, std::int64_t head_dim,
                  const RotaryDefaults& defaults) {
  const ConfigReader parameters = RotaryParameters(config);
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
  ScaleRotary(config, parameters, theta, rotary);
  return rotary;
}

void RunRotary(const Arithmetic& arithmetic, const Rotary& rotary, DocumentBounds documents,
               Matrix& x) {
  Rotate(x,
         {.head_dim = rotary.head_dim,
          .first = rotary.first,
          .pairs = rotary.pairs,
          .inv_freq = rotary.inv_freq,
          .factor = rotary.factor},
         documents);
  Round(arithmetic, RoundingPoint::kRotary, x.values());
}

}  // namespace cacheready
