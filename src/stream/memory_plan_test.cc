// On the shipped reference checkpoint: what fits into which limit, and that it changes no bit.
// SPDX-License-Identifier: Apache-2.0
#include "stream/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/random.h"
#include "stream/forward.h"
#include "stream/layer_progress.h"
#include "stream/measured_rates.h"

namespace cacheready {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const Model& Reference() {
  static const Checkpoint checkpoint =
      Checkpoint::Open(CACHEREADY_SOURCE_DIR "/models/reference-fp8");
  static const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  return *model;
}

MemoryPlan PlanFor(std::uint64_t max_bytes, std::size_t copies = 1) {
  const std::vector<const Model*> models(copies, &Reference());
  return PlanMemory(models, {.held_bytes = 1 << 20},
                    {.max_bytes = max_bytes, .output_bytes = 1 << 20});
}

std::uint64_t LargestLayer() {
  std::uint64_t largest = 0;
  for (std::int64_t n = 0; n < Reference().info().layers; ++n) {
    largest = std::max(largest, Reference().store()->PartBytes(n));
  }
  return largest;
}

TEST(MemoryPlan, TakesTheMostThatFitsAndRefusesWhatDoesNotNamingTheLeast) {
  const std::uint64_t plenty = std::uint64_t{8} << 30;
  const MemoryPlan best = PlanFor(plenty);
  EXPECT_EQ(best.reading.residency, Residency::kLayerAndNext);
  EXPECT_GE(best.weight_bytes.at(0), LargestLayer() * 3 / 2);
  EXPECT_LE(best.weight_bytes.at(0), LargestLayer() * 2);

  const MemoryPlan one = PlanFor(best.peak_bytes - LargestLayer() / 2);
  EXPECT_EQ(one.reading.residency, Residency::kLayer);
  EXPECT_EQ(one.weight_bytes.at(0), LargestLayer());

  const MemoryPlan ring = PlanFor(one.peak_bytes - LargestLayer() / 4);
  EXPECT_EQ(ring.reading.residency, Residency::kExperts);
  EXPECT_LE(ring.peak_bytes, one.peak_bytes - LargestLayer() / 4);
  EXPECT_GE(ring.reading.expert_bytes, 2 * Reference().store()->LargestExpertBytes(0));

  std::string message = "no error";
  try {
    PlanFor(one.peak_bytes - LargestLayer());
  } catch (const Error& error) {
    message = error.what();
  }
  EXPECT_THAT(message, AllOf(HasSubstr("--max-memory"), HasSubstr("needs at least")));
}

TEST(MemoryPlan, TwoModelsNeedTwiceAsMuch) {
  const MemoryPlan one = PlanFor(std::uint64_t{8} << 30);
  const MemoryPlan two = PlanFor(std::uint64_t{8} << 30, 2);
  EXPECT_EQ(two.weight_bytes, (std::vector<std::uint64_t>(2, one.weight_bytes.at(0))));
  EXPECT_GE(two.peak_bytes + (1 << 20), one.peak_bytes + one.weight_bytes.at(0));
}

TEST(MemoryPlan, AllowsSixtyPercentOfTheMachineUnlessToldOtherwise) {
  const MemoryPlan plan = PlanFor(0);
  EXPECT_EQ(plan.max_bytes, static_cast<std::uint64_t>(0.6 * static_cast<double>(MemoryLimit())));
}

TEST(MeasuredRates, AreThoseOfWhatWasReadAndRunAndLeaveNothingInMemory) {
  static const Checkpoint checkpoint =
      Checkpoint::Open(CACHEREADY_SOURCE_DIR "/models/reference-fp8");
  const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  WeightStore& store = *model->store();
  store.Use({.residency = Residency::kLayer,
             .mode = ReadMode::kBuffered,
             .weight_bytes = 8 * store.LargestExpertBytes(0)});
  const std::uint64_t flops = FeedForwardFlops();
  const MeasuredRates rates = MeasureRates(*model, Numerics::kBf16Avx512);
  EXPECT_EQ(rates.layer, 0);
  EXPECT_GE(rates.experts, 1);
  EXPECT_LE(rates.experts, 5);  // half of what may be held, and its edges
  EXPECT_GT(rates.bytes_per_second, 0);
  EXPECT_GT(rates.flops_per_second, 0);
  EXPECT_EQ(rates.way, "pread, page cache");
  EXPECT_GT(rates.fp32_flops_per_second, 0);
  EXPECT_NE(rates.fp32_flops_per_second, rates.flops_per_second);
  // Two experts a thread on 256 rows, twice in fp32 and in the class: gate, up and down, a
  // multiplication and an addition each.
  const ModelInfo& info = model->info();
  EXPECT_EQ(FeedForwardFlops() - flops,
            static_cast<std::uint64_t>(2 * 2 * 2 * NumThreads() * 256 * 6 * info.hidden *
                                       info.expert_width));
}

TEST(RateText, IsInUnitsOfAThousandMillionAndAMillionMillion) {
  EXPECT_EQ(RateText(6'000'000'000, 1'000'000'000'000, 4.0, 12'340'000'000),
            "1.50 GB/s read, 0.25 TFLOP/s in experts, 12.3 GB of memory");
}

using Way = std::tuple<Residency, const char*>;
class EveryResidency : public testing::TestWithParam<Way> {};

TEST_P(EveryResidency, GivesTheBitsOfTouchingTheMapping) {
  TokenBatch batch;
  for (std::size_t n = 0; n < 90; ++n) {
    batch.ids.push_back(static_cast<std::int32_t>(HashWords({3, n}) % 4096));
  }
  batch.bounds.push_back(batch.tokens());
  static const Checkpoint checkpoint =
      Checkpoint::Open(CACHEREADY_SOURCE_DIR "/models/reference-fp8");
  const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  const Arithmetic served = {.profile = &GetProfile("fp8-w8a8"), .dither_seed = {}};
  const std::vector<std::byte> expected = SerializeForward(RunForward(Reference(), batch, served));
  const auto [residency, mode] = GetParam();
  try {
    model->store()->Use({.residency = residency,
                         .mode = ParseReadMode(mode),
                         .weight_bytes = std::uint64_t{1} << 30,
                         .expert_bytes = 3 * model->store()->LargestExpertBytes(0),
                         .output_bytes = 1 << 16,
                         .logit_bytes = 1 << 16});
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  const int threads = NumThreads();
  for (const int count : {1, 3}) {
    SetNumThreads(count);
    EXPECT_TRUE(SerializeForward(RunForward(*model, batch, served)) == expected) << count;
  }
  SetNumThreads(threads);
  EXPECT_GE(model->store()->bytes_read(), TrafficOf(*model, true).once * 9 / 10);
}

INSTANTIATE_TEST_SUITE_P(Ways, EveryResidency,
                         testing::Combine(testing::Values(Residency::kLayerAndNext,
                                                          Residency::kLayer, Residency::kExperts),
                                          testing::Values("auto", "uring", "direct", "buffered",
                                                          "mmap")));

}  // namespace
}  // namespace cacheready
