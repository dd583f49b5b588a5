// SPDX-License-Identifier: Apache-2.0
#include "scan/decoys.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <utility>

#include "base/parallel.h"
#include "base/random.h"
#include "base/statistics.h"
#include "compute/sequence_ops.h"
#include "formats/decode_kernels.h"
#include "formats/dither.h"
#include "model/expert_pass.h"
#include "scan/candidates.h"

namespace cacheready {
namespace {

constexpr double kTimesThreshold = 2.0;
constexpr int kMaxRounds = 6;
constexpr double kCloseEnough = 0.01;                    // of the aimed distance
constexpr std::uint64_t kDecoyStream = 0x6465636f79ULL;  // "decoy": apart from other uses of seed

// A weight matrix with noise on every weight: uniform over +-scale * sqrt(3) times the RMS of the
// matrix, so that `scale` is the RMS of the noise over that of the weights. Made while it is read.
class NoisyMatrix : public EncodedMatrix {
 public:
  NoisyMatrix(const EncodedMatrix& stored, double rms, double scale, std::uint64_t seed)
      : EncodedMatrix(stored.rows(), stored.cols()),
        stored_(stored),
        seed_(seed),
        noise_(EvenGrid(static_cast<float>(2 * std::sqrt(3.0) * scale * rms))) {}  // the width

  std::string_view format() const override { return "f32"; }

  void DecodeRows(std::int64_t begin, std::int64_t count, float* out) const override {
    stored_.DecodeRows(begin, count, out);
    for (std::int64_t r = 0; r < count; ++r) {
      ActiveDecodeKernels().add_dither(seed_, begin + r, cols(), noise_, out + r * cols());
    }
  }

  void DecodeRowsDithered(std::int64_t begin, std::int64_t count, std::uint64_t,
                          float* out) const override {
    DecodeRows(begin, count, out);  // as f32 is
  }

 private:
  const EncodedMatrix& stored_;
  std::uint64_t seed_;
  DitherGrid noise_;
};

double RmsOf(const EncodedMatrix& matrix) {
  std::vector<double> squares(static_cast<std::size_t>(matrix.rows()));
  ParallelFor(matrix.rows(), [&](std::int64_t r) {
    std::vector<float> row(static_cast<std::size_t>(matrix.cols()));
    matrix.DecodeRows(r, 1, row.data());
    squares[static_cast<std::size_t>(r)] = SquaredNorm(row);
  });
  const double sum = std::accumulate(squares.begin(), squares.end(), 0.0);
  return std::sqrt(sum / static_cast<double>(matrix.rows() * matrix.cols()));
}

class NoisyExpert {
 public:
  NoisyExpert(const FeedForward& expert, std::uint64_t seed)
      : original_(expert),
        seed_(seed),
        gate_rms_(RmsOf(*expert.gate)),
        up_rms_(RmsOf(*expert.up)),
        down_rms_(RmsOf(*expert.down)) {}

  Matrix Run(double scale, const RowsView& x) const {
    const auto noisy = [&](const EncodedMatrix& stored, double rms, std::uint64_t number) {
      return std::make_unique<NoisyMatrix>(stored, rms, scale, HashWords({seed_, number}));
    };
    FeedForward decoy;
    decoy.gate = noisy(*original_.gate, gate_rms_, 0);
    decoy.up = noisy(*original_.up, up_rms_, 1);
    decoy.down = noisy(*original_.down, down_rms_, 2);
    decoy.activation = original_.activation;
    decoy.gate_bias = original_.gate_bias;
    decoy.up_bias = original_.up_bias;
    decoy.down_bias = original_.down_bias;
    return RunFeedForward(Fp32Arithmetic(), Role::kExpert, decoy, x);
  }

 private:
  const FeedForward& original_;
  std::uint64_t seed_;
  double gate_rms_, up_rms_, down_rms_;
};

struct Comparison {
  std::vector<float> difference, larger_norm;  // [rows]
  double rms_distance = 0;
};

Comparison Compare(const Matrix& a, const Matrix& b) {
  const auto rows = static_cast<std::size_t>(a.rows());
  Comparison result{std::vector<float>(rows), std::vector<float>(rows)};
  std::vector<double> distances(rows);
  ParallelFor(a.rows(), [&](std::int64_t row) {
    const auto r = static_cast<std::size_t>(row);
    const double difference = std::sqrt(SquaredDistance(a.row(row), b.row(row)));
    const double larger = std::sqrt(std::max(SquaredNorm(a.row(row)), SquaredNorm(b.row(row))));
    result.difference[r] = static_cast<float>(difference);
    result.larger_norm[r] = static_cast<float>(larger);
    distances[r] = difference == 0 ? 0.0 : difference / larger;
  });
  result.rms_distance = RootMeanSquare(distances);
  return result;
}

// The scale at which the distance on the given rows is `aim`. The distance grows almost in
// proportion to the scale, so each round multiplies by what is missing.
double FindScale(const NoisyExpert& decoy, const RowsView& x, const Matrix& original, double aim) {
  double scale = aim / std::sqrt(3.0);  // three matrices contribute about alike
  for (int round = 0; round < kMaxRounds; ++round) {
    const double found = Compare(decoy.Run(scale, x), original).rms_distance;
    if (!(found > 0) || std::abs(found / aim - 1.0) < kCloseEnough) break;
    scale *= std::min(aim / found, 4.0);
  }
  return scale;
}

}  // namespace

std::vector<std::int32_t> ChooseDecoyMembers(std::span<const PairRecord> pairs,
                                             std::span<const std::int64_t> probe_selections,
                                             std::int64_t count) {
  const bool any_candidate =
      std::any_of(pairs.begin(), pairs.end(), [](const PairRecord& p) { return p.candidate; });
  std::vector<bool> eligible(probe_selections.size(), !any_candidate);
  for (const PairRecord& pair : pairs) {
    if (!pair.candidate) continue;
    eligible[static_cast<std::size_t>(pair.i)] = true;
    eligible[static_cast<std::size_t>(pair.j)] = true;
  }
  std::vector<std::int32_t> members;
  for (std::size_t e = 0; e < probe_selections.size(); ++e) {
    if (eligible[e] && probe_selections[e] > 0) members.push_back(static_cast<std::int32_t>(e));
  }
  std::stable_sort(members.begin(), members.end(), [&](std::int32_t a, std::int32_t b) {
    return probe_selections[static_cast<std::size_t>(a)] >
           probe_selections[static_cast<std::size_t>(b)];
  });
  if (static_cast<std::int64_t>(members.size()) > count) {
    members.resize(static_cast<std::size_t>(count));
  }
  std::sort(members.begin(), members.end());
  return members;
}

std::vector<DecoyRecord> MeasureDecoys(const MoeBlock& moe, const Matrix& x,
                                       std::span<const std::int32_t> members,
                                       const DecoySource& source) {
  std::vector<DecoyRecord> records;
  std::vector<std::int32_t> noisy(members.begin(), members.end());
  const auto threshold_of = [&](std::int32_t member) {
    const double noise = source.noise[static_cast<std::size_t>(member)];
    return PairThreshold(source.tolerance, noise, noise);
  };
  // No noise, no scale to be wrong at.
  std::erase_if(noisy, [&](std::int32_t member) { return !(threshold_of(member) > 0); });
  ExpertPass pass(moe, noisy);
  for (std::size_t n = 0; n < noisy.size(); ++n) {
    const std::int32_t member = noisy[n];
    const auto e = static_cast<std::size_t>(member);
    const double threshold = threshold_of(member);
    const HeldExpert held(pass, static_cast<std::int64_t>(n));
    const std::span<const std::int32_t> sample = source.samples[e].tokens;
    const std::span<const std::int32_t> probe = source.probe_sample[e];
    const NoisyExpert decoy(moe.experts[e],
                            HashWords({source.seed, static_cast<std::uint64_t>(source.layer),
                                       static_cast<std::uint64_t>(member), kDecoyStream}));
    const double scale =
        FindScale(decoy, RowsView(x, probe), RunExpert(Fp32Arithmetic(), moe, member, x, probe),
                  kTimesThreshold * threshold);
    DecoyRecord& record = records.emplace_back();
    record.expert = member;
    if (sample.empty()) continue;
    Comparison measured = Compare(decoy.Run(scale, RowsView(x, sample)),
                                  RunExpert(Fp32Arithmetic(), moe, member, x, sample));
    record.difference = std::move(measured.difference);
    record.larger_norm = std::move(measured.larger_norm);
  }
  return records;
}

}  // namespace cacheready
