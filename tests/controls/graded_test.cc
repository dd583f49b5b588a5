// Pairs at chosen distances around the threshold: found below it, refused above it.
//
// Expert 2j + 1 of each layer is expert 2j plus weight noise, its scale bisected until the RMS
// distance of the two on the sampled tokens of either is the wanted multiple of sqrt(2) times the
// smaller rendition noise: the statistic by which planning judges, on the tokens on which it does.
// SPDX-License-Identifier: Apache-2.0
#include "synth/graded.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>

#include "compute/sequence_ops.h"
#include "controls/controls.h"
#include "planning/pair_evidence.h"
#include "planning/text_layout.h"
#include "stream/stream.h"
#include "synth/fused_twin.h"

namespace cacheready {
namespace {

constexpr std::array kLevels = {0.25, 0.5, 0.71, 1.0, 1.41, 2.0, 4.0, 8.0};
constexpr std::int64_t kPairs = 16;  // of each layer: two a level
constexpr std::uint64_t kSeed = 1;
constexpr std::size_t kMeasuredTokens = 128;  // of each side, while bisecting

FeedForward ToFeedForward(const GradedExpert& graded, std::int64_t hidden) {
  const auto half = static_cast<std::ptrdiff_t>(graded.gate_up.size() / 2);
  const std::int64_t width = static_cast<std::int64_t>(half) / hidden;
  const auto matrix = [](std::int64_t rows, std::int64_t cols, auto begin, auto end) {
    Matrix m(rows, cols);
    std::copy(begin, end, m.values().begin());
    return MakeDenseMatrix(std::move(m));
  };
  FeedForward expert;
  expert.gate = matrix(width, hidden, graded.gate_up.begin(), graded.gate_up.begin() + half);
  expert.up = matrix(width, hidden, graded.gate_up.begin() + half, graded.gate_up.end());
  expert.down = matrix(hidden, width, graded.down.begin(), graded.down.end());
  return expert;
}

double RmsDistance(const Matrix& a, const Matrix& b) {
  double sum = 0;
  for (std::int64_t r = 0; r < a.rows(); ++r) {
    sum += SquaredDistance(a.row(r), b.row(r)) /
           std::max(SquaredNorm(a.row(r)), SquaredNorm(b.row(r)));
  }
  return std::sqrt(sum / static_cast<double>(a.rows()));
}

// Scales of the pairs of one layer, from a model whose pairs are exact copies.
std::vector<double> FindScales(const ScannedModel& copies, const MoeBlock& moe, const Matrix& x,
                               std::int64_t layer) {
  const LayerRecord record = copies.Layer(layer);
  const auto noise = MeasureNoise(record);
  std::vector<double> scales(kPairs);
  for (std::int64_t pair = 0; pair < kPairs; ++pair) {
    const auto i = static_cast<std::size_t>(2 * pair);
    const double threshold = std::sqrt(2.0) * std::min(noise[i].nu.rms, noise[i + 1].nu.rms);
    std::array<Matrix, 2> inputs, originals;
    for (std::size_t side = 0; side < 2; ++side) {
      const std::vector<std::int32_t>& tokens = record.samples[i + side].tokens;
      inputs[side] =
          GatherRows(x, std::span(tokens).first(std::min(kMeasuredTokens, tokens.size())));
      originals[side] =
          RunFeedForward(Fp32Arithmetic(), Role::kExpert, moe.experts[i], inputs[side]);
    }
    const auto measure = [&](double scale) {
      const FeedForward graded =
          ToFeedForward(MakeGradedExpert(copies.source().checkpoint,
                                         static_cast<std::size_t>(layer), pair, scale, kSeed),
                        x.cols());
      double largest = 0;
      for (std::size_t side = 0; side < 2; ++side) {
        if (inputs[side].rows() == 0) continue;
        largest = std::max(
            largest, RmsDistance(originals[side], RunFeedForward(Fp32Arithmetic(), Role::kExpert,
                                                                 graded, inputs[side])));
      }
      return largest;
    };
    const double level = kLevels[static_cast<std::size_t>(pair) % kLevels.size()];
    scales[static_cast<std::size_t>(pair)] =
        FindNoiseScale(level * threshold, 0.5 * level * threshold, 0.02, measure).scale;
  }
  return scales;
}

GradedOptions FindAllScales(const ScannedModel& copies) {
  GradedOptions options;
  options.seed = kSeed;
  const ScanText text = copies.Text();
  const Source& source = copies.source();
  const std::vector<Variant> variants = {{.name = "fp32", .arithmetic = Fp32Arithmetic()}};
  StreamState state = BeginStream(*source.model, text.batch, variants);
  RunLayers(
      *source.model, text.batch, variants,
      [&](std::int64_t layer, const Layer& opened, std::span<const LayerActivations> passes) {
        options.scales.push_back(FindScales(copies, *opened.moe(), passes[0].x, layer));
      },
      state);
  return options;
}

struct Level {
  std::int64_t judged = 0, found = 0;
  double measured = 0;  // sum of observed ratios
};

// What planning says of each graded pair, at the distance that its own record shows.
std::map<double, Level> JudgeLevels(const ScannedModel& graded) {
  std::map<double, Level> levels;
  const TextLayout text = MakeTextLayout(graded.header().documents, 0);
  for (const std::int64_t layer : graded.header().moe_layers) {
    const LayerRecord record = graded.Layer(layer);
    const RouterSpec spec = RouterSpecFromJson(record.router.spec, "router spec");
    const Routing routing = Route(spec, record.logits, Fp32Arithmetic());
    const Routing probe = Route(spec, record.probe_logits, Fp32Arithmetic());
    const EvidenceSource source{&record, &text, &routing, &probe, MeasureNoise(record)};
    for (const PairRecord& pair : record.pairs) {
      const bool is_graded = pair.i % 2 == 0 && pair.j == pair.i + 1;
      if (!is_graded || !HasEvidence(source, {}, pair.i) || !HasEvidence(source, {}, pair.j)) {
        continue;
      }
      const PairEvidence evidence = JudgePair(source, SplitRoles(text), {}, pair);
      Level& level = levels[kLevels[static_cast<std::size_t>(pair.i / 2) % kLevels.size()]];
      const auto rms = [](const std::vector<float>& difference, const std::vector<float>& norm) {
        double sum = 0;
        for (std::size_t n = 0; n < difference.size(); ++n) {
          sum += std::pow(static_cast<double>(difference[n]) / static_cast<double>(norm[n]), 2);
        }
        return std::sqrt(sum / static_cast<double>(difference.size()));
      };
      level.measured += std::max(rms(pair.difference_on_i, pair.larger_norm_on_i),
                                 rms(pair.difference_on_j, pair.larger_norm_on_j)) /
                        evidence.threshold.rms;
      ++level.judged;
      level.found += evidence.verdict == PairVerdict::kEquivalent ? 1 : 0;
    }
  }
  return levels;
}

TEST(GradedControl, CoverageFallsFromAllToNoneAroundTheThreshold) {
  const std::filesystem::path fused = Scratch("graded fused"), copied = Scratch("graded copies");
  WriteFusedTwin(Checkpoint::Open(ShippedModel("reference-fp8")), {}, fused);
  GradedOptions zero;
  zero.scales.assign(4, std::vector<double>(kPairs, 0.0));
  WriteGraded(Checkpoint::Open(fused), zero, copied);
  const ScannedModel copies(copied, "graded copies");
  const GradedOptions options = FindAllScales(copies);
  const std::filesystem::path folder = Scratch("graded");
  WriteGraded(Checkpoint::Open(fused), options, folder);
  const ScannedModel graded(folder, "graded");

  double before = 1;
  for (const auto& [wanted, level] : JudgeLevels(graded)) {
    const double coverage = static_cast<double>(level.found) / static_cast<double>(level.judged);
    std::printf("distance %.2f x threshold (measured %.3f): %lld of %lld pairs equivalent\n",
                wanted, level.measured / static_cast<double>(level.judged),
                static_cast<long long>(level.found), static_cast<long long>(level.judged));
    EXPECT_GE(level.judged, 4) << wanted;
    EXPECT_NEAR(level.measured / static_cast<double>(level.judged), wanted, 0.1 * wanted);
    if (wanted <= 0.5) {
      EXPECT_EQ(coverage, 1) << wanted;
    }
    if (wanted >= 2) {
      EXPECT_EQ(coverage, 0) << wanted;
    }
    EXPECT_LE(coverage, before) << wanted;
    before = coverage;
  }
  ExpectDecoysRefused(graded.MakePlan(), "graded");
}

}  // namespace
}  // namespace cacheready
