// SPDX-License-Identifier: Apache-2.0
#include "scan/noise.h"

#include <cmath>
#include <memory>

#include "base/random.h"
#include "base/statistics.h"
#include "compute/sequence_ops.h"

namespace cacheready {
namespace {

// A matrix whose dither is seeded apart from that of other matrices under the same seed.
class SeededApart final : public EncodedMatrix {
 public:
  SeededApart(const EncodedMatrix& stored, std::uint64_t salt)
      : EncodedMatrix(stored.rows(), stored.cols()), stored_(stored), salt_(salt) {}
  std::string_view format() const override { return stored_.format(); }
  void DecodeRows(std::int64_t begin, std::int64_t count, float* out) const override {
    stored_.DecodeRows(begin, count, out);
  }
  BlockShape block_shape() const override { return stored_.block_shape(); }
  void DecodeCodes(std::int64_t begin, std::int64_t count, float* out) const override {
    stored_.DecodeCodes(begin, count, out);
  }
  float Scale(std::int64_t row, std::int64_t col) const override { return stored_.Scale(row, col); }
  void DecodeRowsDithered(std::int64_t begin, std::int64_t count, std::uint64_t seed,
                          float* out) const override {
    stored_.DecodeRowsDithered(begin, count, HashWords({seed, salt_}), out);
  }

 private:
  const EncodedMatrix& stored_;
  std::uint64_t salt_;
};

FeedForward WithSeedsApart(const FeedForward& expert) {
  FeedForward apart;
  apart.gate = std::make_unique<SeededApart>(*expert.gate, 0);
  apart.up = std::make_unique<SeededApart>(*expert.up, 1);
  apart.down = std::make_unique<SeededApart>(*expert.down, 2);
  apart.activation = expert.activation;
  return apart;
}

}  // namespace

std::vector<float> RenditionNoise(const MoeBlock& moe, std::int64_t expert, const Matrix& x,
                                  std::span<const std::int32_t> rows, const NoiseSource& source) {
  const Arithmetic served{source.profile,
                          HashWords({source.seed, static_cast<std::uint64_t>(source.layer),
                                     static_cast<std::uint64_t>(expert)})};
  const FeedForward apart = WithSeedsApart(moe.experts[static_cast<std::size_t>(expert)]);
  const Matrix rendition = RunFeedForward(served, Role::kExpert, apart, GatherRows(x, rows));
  const Matrix reference = RunExpert(Fp32Arithmetic(), moe, expert, x, rows);
  std::vector<float> noise;
  for (std::int64_t r = 0; r < reference.rows(); ++r) {
    const double difference = SquaredDistance(rendition.row(r), reference.row(r));
    const double norm = SquaredNorm(reference.row(r));
    const double relative = norm > 0 ? std::sqrt(difference / norm) : (difference > 0 ? 1.0 : 0.0);
    noise.push_back(static_cast<float>(relative));
  }
  return noise;
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
