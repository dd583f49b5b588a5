// SPDX-License-Identifier: Apache-2.0
#include "planning/logit_noise.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/parallel.h"

namespace cacheready {
namespace {

constexpr std::size_t kLanes = 4;  // chains that the compiler can keep in registers

double DotProduct(const double* a, const double* b, std::size_t count) {
  double sums[kLanes] = {};
  std::size_t n = 0;
  for (; n + kLanes <= count; n += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) sums[lane] += a[n + lane] * b[n + lane];
  }
  for (; n < count; ++n) sums[0] += a[n] * b[n];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace

LogitNoise::LogitNoise(const Matrix& values, const Matrix& served)
    : experts_(static_cast<std::size_t>(values.cols())), moments_(experts_ * experts_, 0.0) {
  CR_CHECK(values.rows() == served.rows() && values.cols() == served.cols(), "passes differ");
  const auto tokens = static_cast<std::size_t>(values.rows());
  if (tokens == 0) return;
  std::vector<double> deviation(experts_ * tokens);  // [experts, tokens]
  for (std::size_t t = 0; t < tokens; ++t) {
    const auto row = values.row(static_cast<std::int64_t>(t));
    const auto of_served = served.row(static_cast<std::int64_t>(t));
    for (std::size_t e = 0; e < experts_; ++e) {
      deviation[e * tokens + t] = static_cast<double>(of_served[e]) - static_cast<double>(row[e]);
    }
  }
  ParallelFor(values.cols(), [&](std::int64_t expert) {
    const auto i = static_cast<std::size_t>(expert);
    for (std::size_t j = i; j < experts_; ++j) {
      const double moment = DotProduct(&deviation[i * tokens], &deviation[j * tokens], tokens) /
                            static_cast<double>(tokens);
      moments_[i * experts_ + j] = moment;
      moments_[j * experts_ + i] = moment;
    }
  });
}

LogitNoise LogitNoise::Uniform(std::int64_t experts, double sigma) {
  LogitNoise noise;
  noise.experts_ = static_cast<std::size_t>(experts);
  noise.moments_.assign(noise.experts_ * noise.experts_, 0.0);
  for (std::size_t e = 0; e < noise.experts_; ++e) {
    noise.moments_[e * noise.experts_ + e] = sigma * sigma / 2;
  }
  return noise;
}

LogitNoise LogitNoise::OfClasses(std::span<const std::int32_t> class_of) const {
  CR_CHECK(class_of.size() == experts_, "classes of {} of {} experts", class_of.size(), experts_);
  std::vector<std::vector<std::size_t>> members(experts_);
  for (std::size_t e = 0; e < experts_; ++e) {
    members[static_cast<std::size_t>(class_of[e])].push_back(e);
  }
  LogitNoise noise = *this;
  for (std::size_t i = 0; i < experts_; ++i) {
    const auto& of_i = members[static_cast<std::size_t>(class_of[i])];
    for (std::size_t j = 0; j < experts_; ++j) {
      const auto& of_j = members[static_cast<std::size_t>(class_of[j])];
      double sum = 0;
      for (const std::size_t a : of_i) {
        for (const std::size_t b : of_j) sum += At(a, b);
      }
      noise.moments_[i * experts_ + j] = sum / static_cast<double>(of_i.size() * of_j.size());
    }
  }
  return noise;
}

double LogitNoise::Between(std::int32_t i, std::int32_t j) const {
  const auto a = static_cast<std::size_t>(i), b = static_cast<std::size_t>(j);
  return std::sqrt(std::max(At(a, a) + At(b, b) - 2 * At(a, b), 0.0));
}

}  // namespace cacheready
