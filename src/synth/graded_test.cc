// SPDX-License-Identifier: Apache-2.0
#include "synth/graded.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "synth/fused_twin.h"
#include "synth/routed_blocks.h"
#include "synth/scratch_folder.h"
#include "tensor/tensor_view.h"

namespace cacheready {
namespace {

double RelativeDistance(std::span<const float> a, std::span<const float> b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = static_cast<double>(a[i]), d = static_cast<double>(b[i]) - x;
    difference += d * d;
    norm += x * x;
  }
  return std::sqrt(difference / norm);
}

TEST(Graded, NoiseOfEachPairHasItsRelativeNorm) {
  const ScratchFolder scratch;
  WriteFusedTwin(Checkpoint::Open(ReferenceFp8()), {Dtype::kF32, 16 << 20}, scratch / "twin");
  const Checkpoint twin = Checkpoint::Open(scratch / "twin");
  GradedOptions options;
  options.scales = {{0.5, 0.02}, {}, {0.1}, {0.0, 0.3}};
  WriteGraded(twin, options, scratch / "out");
  const Checkpoint graded = Checkpoint::Open(scratch / "out");
  for (std::size_t layer = 0; layer < 4; ++layer) {
    const std::string prefix =
        "model.language_model.layers." + std::to_string(layer) + ".mlp.experts.";
    for (const std::string leaf : {"gate_up_proj", "down_proj"}) {
      const std::vector<float> before = ReadFloats(twin.GetTensor(prefix + leaf));
      const std::vector<float> after = ReadFloats(graded.GetTensor(prefix + leaf));
      const auto expert = [](const std::vector<float>& all, std::size_t e) {
        return EntryOf(std::span<const float>(all), 32, static_cast<std::int64_t>(e));
      };
      for (std::size_t pair = 0; pair < options.scales[layer].size(); ++pair) {
        const double scale = options.scales[layer][pair];
        EXPECT_NEAR(RelativeDistance(expert(after, 2 * pair), expert(after, 2 * pair + 1)), scale,
                    1e-6 * (1 + scale));
        EXPECT_TRUE(std::ranges::equal(expert(after, 2 * pair), expert(before, 2 * pair)));
      }
      EXPECT_TRUE(std::ranges::equal(expert(after, 5), expert(before, 5)));
    }
  }
}

TEST(Graded, MeasuredExpertIsTheOneThatIsWritten) {
  const ScratchFolder scratch;
  WriteFusedTwin(Checkpoint::Open(ReferenceFp8()), {}, scratch / "twin");
  const Checkpoint twin = Checkpoint::Open(scratch / "twin");
  GradedOptions options;
  options.scales = {{}, {0.1, 0.25}, {}, {}};
  WriteGraded(twin, options, scratch / "out");
  const Checkpoint graded = Checkpoint::Open(scratch / "out");
  const GradedExpert expert = MakeGradedExpert(twin, 1, 1, 0.25, options.seed);
  const std::string prefix = "model.language_model.layers.1.mlp.experts.";
  const auto stored = [&](const std::string& leaf) {
    const std::vector<float> all = ReadFloats(graded.GetTensor(prefix + leaf));
    const auto entry = EntryOf(std::span<const float>(all), 32, 3);
    return std::vector<float>(entry.begin(), entry.end());
  };
  EXPECT_EQ(expert.gate_up, stored("gate_up_proj"));
  EXPECT_EQ(expert.down, stored("down_proj"));
}

TEST(Graded, RefusesExpertsStoredOneByOne) {
  const ScratchFolder scratch;
  GradedOptions options;
  options.scales = {{0.1}, {0.1}, {0.1}, {0.1}};
  EXPECT_THROW(WriteGraded(Checkpoint::Open(ReferenceFp8()), options, scratch / "out"), Error);
}

TEST(FindNoiseScale, SolvesAMonotoneFunctionFromEitherSide) {
  const auto square = [](double scale) { return scale * scale; };
  for (double start : {1e-3, 3.0, 100.0}) {
    const NoiseScale found = FindNoiseScale(9.0, start, 1e-6, square);
    EXPECT_NEAR(found.measured, 9.0, 9e-6);
    EXPECT_NEAR(found.scale, 3.0, 1e-5);
  }
}

TEST(FindNoiseScale, ReturnsTheClosestSideOfAStep) {
  int calls = 0;
  const auto stairs = [&](double scale) {
    ++calls;
    return scale < 2.5 ? 1.0 : 1.9;
  };
  EXPECT_EQ(FindNoiseScale(1.8, 1.0, 1e-3, stairs).measured, 1.9);
  EXPECT_LE(calls, 60);
}

TEST(FindNoiseScale, FailsIfTheTargetIsNeverReached) {
  EXPECT_THROW(FindNoiseScale(2.0, 1.0, 1e-3, [](double) { return 1.0; }), Error);
}

}  // namespace
}  // namespace cacheready
