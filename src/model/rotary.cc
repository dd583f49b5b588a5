// SPDX-License-Identifier: Apache-2.0
#include "model/rotary.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/math.h"
#include "model/rotary_scaling.h"

namespace cacheready {
namespace {

// Far above any head; keeps a broken config from asking for gigabytes of frequencies.
constexpr std::int64_t kMaxColumns = 1 << 16;

void RotateBy(const Rotary& rotary, const RotaryFrequencies& frequencies, DocumentBounds documents,
              Matrix& x) {
  Rotate(x,
         {.head_dim = rotary.head_dim,
          .first = rotary.first,
          .pairs = rotary.pairs,
          .inv_freq = frequencies.inv_freq,
          .factor = frequencies.factor},
         documents);
}

// One document after the other, each by the frequencies of its length.
void RotateByLength(const Rotary& rotary, DocumentBounds documents, Matrix& x) {
  for (std::size_t d = 0; d + 1 < documents.size(); ++d) {
    const std::int64_t begin = documents[d];
    const std::int64_t count = documents[d + 1] - begin;
    std::vector<std::int32_t> rows(static_cast<std::size_t>(count));
    std::iota(rows.begin(), rows.end(), static_cast<std::int32_t>(begin));
    Matrix document = GatherRows(x, rows);
    const std::int64_t bounds[] = {0, count};
    RotateBy(rotary, count > rotary.long_above ? rotary.long_frequencies : rotary.frequencies,
             bounds, document);
    std::copy(document.values().begin(), document.values().end(), x.row(begin).begin());
  }
}

}  // namespace

ConfigReader RotaryParameters(const ConfigReader& config) {
  ConfigReader parameters =
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
  if (!(theta > 0) || rotary.rotary_dim < 2 ||
      rotary.rotary_dim > std::min(head_dim, kMaxColumns) || rotary.rotary_dim % 2 != 0) {
    Fail("{}: rope_theta {} and partial_rotary_factor {} rotate {} of {} columns of a head",
         config.what(), theta, partial, rotary.rotary_dim, head_dim);
  }
  for (std::int64_t i = 0; i < rotary.rotary_dim; i += 2) {
    const double exponent = static_cast<double>(i) / static_cast<double>(rotary.rotary_dim);
    rotary.frequencies.inv_freq.push_back(static_cast<float>(Pow(theta, -exponent)));
  }
  ScaleRotary(config, parameters, theta, rotary);
  return rotary;
}

void RunRotary(const Arithmetic& arithmetic, const Rotary& rotary, DocumentBounds documents,
               Matrix& x) {
  if (rotary.long_above > 0) {
    RotateByLength(rotary, documents, x);
  } else {
    RotateBy(rotary, rotary.frequencies, documents, x);
  }
  Round(arithmetic, RoundingPoint::kRotary, x.values());
}

}  // namespace cacheready
