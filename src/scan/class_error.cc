// SPDX-License-Identifier: Apache-2.0
#include "scan/class_error.h"

#include "arithmetic/profile.h"
#include "base/console.h"
#include "base/error.h"
#include "base/statistics.h"
#include "model/expert_pass.h"
#include "scan/noise.h"

namespace cacheready {
namespace {

// The values, one an expert, of the experts that have rows.
std::vector<double> OfThoseWithRows(std::span<const double> values,
                                    std::span<const std::vector<std::int32_t>> rows) {
  std::vector<double> kept;
  for (std::size_t e = 0; e < rows.size(); ++e) {
    if (!rows[e].empty()) kept.push_back(values[e]);
  }
  return kept;
}

}  // namespace

double ClassError(const MoeBlock& moe, const Matrix& x,
                  std::span<const std::vector<std::int32_t>> rows, Numerics numerics) {
  if (numerics == Numerics::kFp32Chain) return 0;
  std::vector<double> errors(rows.size(), 0.0);
  ForEachExpertWithRows(moe, rows, [&](std::int32_t expert) {
    const auto e = static_cast<std::size_t>(expert);
    const Matrix found = RunExpert(Fp32Arithmetic(numerics), moe, expert, x, rows[e]);
    const std::vector<float> distances =
        RelativeDistances(found, RunExpert(Fp32Arithmetic(), moe, expert, x, rows[e]));
    errors[e] = RootMeanSquare(std::vector<double>(distances.begin(), distances.end()));
  });
  const std::vector<double> measured = OfThoseWithRows(errors, rows);
  return measured.empty() ? 0 : RootMeanSquare(measured);
}

void RequirePreciseClass(const MoeBlock& moe, const Matrix& x,
                         std::span<const std::vector<std::int32_t>> rows, Numerics numerics,
                         const LayerUnit& unit) {
  if (numerics == Numerics::kFp32Chain) return;
  const std::vector<double> noise = OfThoseWithRows(unit.noise, rows);
  if (noise.empty()) return;
  const double error = ClassError(moe, x, rows, numerics), rms = RootMeanSquare(noise);
  Detail(fmt::format("layer {}: error of {} {:.3g}, rendition noise {:.3g}", unit.layer,
                     NumericsClassName(numerics), error, rms));
  if (rms >= kNoiseOverClassError * error) return;
  Fail(
      "scan: layer {}: in the numerics class {} experts are off by {:.3g}, and what profile {} "
      "does to them is {:.3g}: less than {} times as much, so that class cannot measure it; use "
      "--numerics fp32",
      unit.layer, NumericsClassName(numerics), error, unit.profile, rms, kNoiseOverClassError);
}

}  // namespace cacheready
