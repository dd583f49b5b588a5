// Our emulation of serving beside transformers on a GPU: flips and KL against fp32 over the same
// 23,008 tokens (the evaluation text, documents cut at 512).
//
// "w8a8" there is fp32 with FP8 activations per 128 columns; our fp8-w8a8 rounds to bf16 between
// operators as well, as an engine does. So a profile of this test, which quantizes activations and
// rounds nothing else, is what must agree; fp8-w8a8 itself is printed beside it. "bf16" is eager
// transformers. Figures there carry no intervals; their documents are ours, so they are given the
// half-width of ours. Planted router rows are random: there only the distribution is the same.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "base/error.h"
#include "controls/controls.h"
#include "measure/eval.h"
#include "measure/overrides.h"
#include "measure/summary.h"
#include "planning/canonical_rows.h"
#include "synth/planted.h"

namespace cacheready {
namespace {

using Members = std::vector<std::int32_t>;

const Profile& ActivationsOnly() {
  static const Profile profile = [] {
    Profile only = *Fp32Arithmetic().profile;
    only.name = "e4m3 activations only";
    only.quantize_activations_e4m3 = true;
    return only;
  }();
  return profile;
}

// On the GPU; an empty value was not measured there.
struct OnGpu {
  std::optional<double> flips, kl;
};

PlannedGroup TiedToMean(const Checkpoint& checkpoint, const MoeLayerInfo& layer, Members members) {
  const TensorView& gate = checkpoint.GetTensor(layer.tensors.weight);
  RouterRecord router;
  router.weight_tensor = gate.name;
  router.weight_dtype = gate.dtype;
  router.weight.assign(gate.bytes.begin(), gate.bytes.end());
  router.spec["experts"] = gate.shape[0];
  const std::vector<double> unused(members.size(), 0.0);
  const RowCandidate mean = CandidateRows(router, members, unused)[0];
  PlannedGroup group;
  group.layer = layer.layer;
  group.rule = mean.rule;
  group.tensors = PlannedTensors(router, members, mean);
  group.members = std::move(members);
  return group;
}

// The same groups of consecutive experts in every layer.
std::vector<PlannedGroup> TieConsecutive(const Source& source, std::int32_t groups,
                                         std::int32_t size) {
  std::vector<PlannedGroup> tied;
  for (const MoeLayerInfo& layer : source.model->info().moe_layers) {
    for (std::int32_t g = 0; g < groups; ++g) {
      Members members;
      for (std::int32_t m = 0; m < size; ++m) members.push_back(g * size + m);
      tied.push_back(TiedToMean(source.checkpoint, layer, members));
    }
  }
  return tied;
}

// Figures there have two digits.
double HalfOfLastDigit(double value) {
  return value == 0 ? 0 : 0.5 * std::pow(10.0, std::floor(std::log10(value)) - 1);
}

bool Overlaps(const Estimate& ours, double theirs) {
  const double below = 2 * (ours.mean - ours.interval.low) + HalfOfLastDigit(theirs);
  const double above = 2 * (ours.interval.high - ours.mean) + HalfOfLastDigit(theirs);
  return theirs >= ours.mean - below && theirs <= ours.mean + above;
}

class Comparison {
 public:
  Comparison(std::string name, const std::filesystem::path& folder)
      : name_(std::move(name)), source_(OpenSource(folder.string())) {
    documents_ =
        ReadText(*source_, {.path = EvaluationFile().string(), .max_tokens = 512, .min_tokens = 2});
    variants_.push_back({.name = "fp32", .arithmetic = Fp32Arithmetic()});
  }
  const Source& source() const { return *source_; }

  // Runs under a profile with the routers as stored or tied.
  void Add(const Profile& profile, const RouterOverrides* tied = nullptr) {
    variants_.push_back({.name = std::string(profile.name) + (tied == nullptr ? "" : ", tied"),
                         .arithmetic = {.profile = &profile, .dither_seed = {}},
                         .overrides = tied});
  }
  void Run() { evaluation_ = Evaluate(*source_->model, documents_, variants_); }

  // Flips of variant `index` against `reference`, KL against fp32 of the stored model. `judged`:
  // they must agree with the GPU.
  void Tell(std::size_t index, std::size_t reference, const OnGpu& gpu, bool judged = true) const {
    const EvaluatedVariant& variant = evaluation_.variants[index];
    const Estimate kl = EstimateKl(evaluation_, index, {});
    const Estimate flips = EstimateFlips(
        evaluation_,
        CompareSelections(evaluation_.variants[reference].selections, variant.selections), {});
    std::printf(
        "%-14s %-28s flips %5.2f %% (%.2f to %.2f, GPU %s)  KL %.5f (%.5f to %.5f, GPU %s)\n",
        name_.c_str(), variant.name.c_str(), 100 * flips.mean, 100 * flips.interval.low,
        100 * flips.interval.high,
        gpu.flips ? fmt::format("{:.2f}", 100 * *gpu.flips).c_str() : "-", kl.mean, kl.interval.low,
        kl.interval.high, gpu.kl ? fmt::format("{:.5f}", *gpu.kl).c_str() : "-");
    if (!judged) return;
    if (gpu.flips) {
      EXPECT_TRUE(Overlaps(flips, *gpu.flips)) << name_ << ", " << variant.name;
    }
    if (gpu.kl) {
      EXPECT_TRUE(Overlaps(kl, *gpu.kl)) << name_ << ", " << variant.name;
    }
  }

 private:
  std::string name_;
  std::unique_ptr<Source> source_;
  std::vector<Document> documents_;
  std::vector<Variant> variants_;
  Evaluation evaluation_;
};

// The stored model under each way of serving: variants 1 to 4.
void AddServed(Comparison& comparison) {
  comparison.Add(ActivationsOnly());
  comparison.Add(GetProfile("bf16-eager"));
  comparison.Add(GetProfile("bf16-tp1"));
  comparison.Add(GetProfile("fp8-w8a8"));
}
void TellServed(const Comparison& comparison, const OnGpu& w8a8, const OnGpu& bf16) {
  comparison.Tell(1, 0, w8a8);
  comparison.Tell(2, 0, bf16);
  comparison.Tell(3, 0, bf16, false);
  comparison.Tell(4, 0, w8a8, false);
}

TEST(GpuAgreement, Reference) {
  Comparison comparison("reference", ShippedModel("reference-fp8"));
  AddServed(comparison);
  comparison.Run();
  TellServed(comparison, {0.087, 0.0047}, {0.026, 0.0012});
}

void ComparePlanted(double row_noise, const OnGpu& w8a8, const OnGpu& bf16, const OnGpu& tied) {
  const std::string name = fmt::format("planted {:.0f} %", 100 * row_noise);
  PlantedOptions options;
  options.row_noise = row_noise;
  WritePlanted(Checkpoint::Open(ShippedModel("reference-fp8")), options, Scratch(name));
  Comparison comparison(name, Scratch(name));
  const std::vector<PlannedGroup> groups = TieConsecutive(comparison.source(), 8, 2);
  const RouterOverrides overrides = MakeOverrides(*comparison.source().model, groups);
  AddServed(comparison);
  comparison.Add(*Fp32Arithmetic().profile, &overrides);
  comparison.Add(GetProfile("bf16-eager"), &overrides);
  comparison.Run();
  TellServed(comparison, w8a8, bf16);
  comparison.Tell(5, 5, {{}, tied.kl}, false);
  comparison.Tell(6, 5, {tied.flips, {}}, false);
}

TEST(GpuAgreement, PlantedOnePercent) {
  ComparePlanted(0.01, {0.091, 0.0103}, {0.068, 0.0032}, {0.025, 0.0017});
}
TEST(GpuAgreement, PlantedFivePercent) {
  ComparePlanted(0.05, {0.093, 0.0098}, {0.035, 0.0024}, {0.025, 0.0043});
}
TEST(GpuAgreement, PlantedTwentyPercent) {
  ComparePlanted(0.20, {0.094, 0.0092}, {0.031, 0.0027}, {{}, 0.0140});
}

TEST(GpuAgreement, Upcycled) {
  Comparison comparison("upcycled", ShippedModel("upcycled-fp8"));
  const Source& source = comparison.source();
  const RouterOverrides eights = MakeOverrides(*source.model, TieConsecutive(source, 8, 4));
  const RouterOverrides all = MakeOverrides(*source.model, TieConsecutive(source, 1, 32));
  AddServed(comparison);
  for (const RouterOverrides* tied : {&eights, &all}) {
    comparison.Add(*Fp32Arithmetic().profile, tied);
    comparison.Add(ActivationsOnly(), tied);
    comparison.Add(GetProfile("bf16-eager"), tied);
  }
  comparison.Run();
  TellServed(comparison, {0.092, 0.0014}, {0.023, 0.00012});
  comparison.Tell(5, 5, {{}, 0.0005}, false);
  comparison.Tell(6, 5, {0.021, {}}, false);
  comparison.Tell(7, 5, {0.0055, {}}, false);
  comparison.Tell(8, 8, {{}, 0.0008}, false);
  comparison.Tell(9, 8, {0.0, {}});
  comparison.Tell(10, 8, {0.0, {}});
}

}  // namespace
}  // namespace cacheready
