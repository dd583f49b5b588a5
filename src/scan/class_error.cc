// SPDX-License-Identifier: Apache-2.0
#include "scan/class_error.h"

#include <fmt/format.h>

#include <vector>

#include "base/console.h"
#include "base/error.h"
#include "base/statistics.h"

namespace cacheready {
namespace {

// RMS over the experts that have rows of the RMS of `of` over their rows.
double RmsOf(std::span<const ExpertErrors> experts, std::vector<float> ExpertErrors::*of) {
  std::vector<double> each;
  for (const ExpertErrors& errors : experts) {
    const std::vector<float>& values = errors.*of;
    if (values.empty()) continue;
    each.push_back(RootMeanSquare(std::vector<double>(values.begin(), values.end())));
  }
  return each.empty() ? 0 : RootMeanSquare(each);
}

}  // namespace

double ClassError(std::span<const ExpertErrors> experts) {
  return RmsOf(experts, &ExpertErrors::of_class);
}

void RequirePreciseClass(std::span<const ExpertErrors> experts, Numerics numerics,
                         const JudgedLayer& judged) {
  if (numerics == Numerics::kFp32Chain) return;
  const double error = ClassError(experts), rms = RmsOf(experts, &ExpertErrors::noise);
  Detail(fmt::format("layer {}: error of {} {:.3g}, rendition noise {:.3g}", judged.layer,
                     NumericsClassName(numerics), error, rms));
  if (rms >= kNoiseOverClassError * error) return;
  Fail(
      "scan: layer {}: in the numerics class {} experts are off by {:.3g}, and what profile {} "
      "does to them is {:.3g}: less than {} times as much, so that class cannot measure it; use "
      "--numerics fp32",
      judged.layer, NumericsClassName(numerics), error, judged.profile, rms, kNoiseOverClassError);
}

}  // namespace cacheready
