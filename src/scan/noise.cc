// SPDX-License-Identifier: Apache-2.0
#include "scan/noise.h"

#include <cmath>

#include "base/random.h"
#include "base/statistics.h"
#include "compute/sequence_ops.h"

namespace cacheready {

std::vector<float> RelativeDistances(const Matrix& found, const Matrix& reference) {
  const std::vector<double> differences = SquaredDistances(found, reference);
  const std::vector<double> norms = SquaredNorms(reference);
  std::vector<float> distances;
  for (std::size_t r = 0; r < norms.size(); ++r) {
    const double difference = differences[r], norm = norms[r];
    const double relative = norm > 0 ? std::sqrt(difference / norm) : (difference > 0 ? 1.0 : 0.0);
    distances.push_back(static_cast<float>(relative));
  }
  return distances;
}

namespace {

std::vector<float> NoiseAgainst(const Matrix& reference, const MoeBlock& moe, std::int64_t expert,
                                const Matrix& x, std::span<const std::int32_t> rows,
                                const NoiseSource& source) {
  const Arithmetic served{source.profile,
                          HashWords({source.seed, static_cast<std::uint64_t>(source.layer),
                                     static_cast<std::uint64_t>(expert)}),
                          source.numerics};
  return RelativeDistances(RunExpert(served, moe, expert, x, rows), reference);
}

}  // namespace

ExpertErrors MeasureErrors(const MoeBlock& moe, std::int64_t expert, const Matrix& x,
                           std::span<const std::int32_t> rows, const NoiseSource& source) {
  const Matrix reference = RunExpert(Fp32Arithmetic(), moe, expert, x, rows);
  ExpertErrors errors;
  errors.noise = NoiseAgainst(reference, moe, expert, x, rows, source);
  if (source.numerics != Numerics::kFp32Chain) {
    errors.of_class = RelativeDistances(
        RunExpert(Fp32Arithmetic(source.numerics), moe, expert, x, rows), reference);
  }
  return errors;
}

std::vector<float> RenditionNoise(const MoeBlock& moe, std::int64_t expert, const Matrix& x,
                                  std::span<const std::int32_t> rows, const NoiseSource& source) {
  return NoiseAgainst(RunExpert(Fp32Arithmetic(), moe, expert, x, rows), moe, expert, x, rows,
                      source);
}

std::vector<double> NoisePerExpert(std::span<const std::vector<float>> noise) {
  std::vector<double> sampled;
  for (const std::vector<float>& values : noise) {
    if (values.empty()) continue;
    sampled.push_back(RootMeanSquare(std::vector<double>(values.begin(), values.end())));
  }
  const double median = sampled.empty() ? 0.0 : Quantile(sampled, 0.5);
  std::vector<double> result;
  std::size_t next = 0;
  for (const std::vector<float>& values : noise) {
    result.push_back(values.empty() ? median : sampled[next++]);
  }
  return result;
}

}  // namespace cacheready
