// How serving moves router logits against each other.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/matrix.h"

namespace cacheready {

// The second moments of the deviations of all experts. Noise of a layer's input moves the logits of
// two nearly equal rows together, so how far one gets past another is a matter of the pair: a
// deviation pooled over all pairs would promise many flips between experts that never change
// places.
class LogitNoise {
 public:
  LogitNoise() = default;
  // From what is compared in two passes, [tokens, experts] each, all finite.
  LogitNoise(const Matrix& values, const Matrix& served);
  // Every pair deviates by `sigma`.
  static LogitNoise Uniform(std::int64_t experts, double sigma);

  // Members of a class share a row, the mean of theirs, and move by the mean of their deviations.
  LogitNoise OfClasses(std::span<const std::int32_t> class_of) const;

  // RMS deviation of value i minus value j.
  double Between(std::int32_t i, std::int32_t j) const;

 private:
  double At(std::size_t i, std::size_t j) const { return moments_[i * experts_ + j]; }

  std::size_t experts_ = 0;
  std::vector<double> moments_;  // [experts, experts]
};

}  // namespace cacheready
