// A model trained from scratch, in which no two experts are alike: whatever is found is wrong.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

#include "controls/controls.h"

namespace cacheready {
namespace {

struct Distances {
  double nearest = 1e9, largest_threshold = 0, smallest_threshold = 1e9;
};

Distances DistancesOf(const Plan& plan) {
  Distances distances;
  for (const Json& layer : plan.layers) {
    const Json& threshold = GetMember(layer, "threshold", "layer");
    distances.nearest =
        std::min(distances.nearest,
                 GetDouble(GetMember(layer, "nearest_distance", "layer"), "min", "nearest"));
    distances.smallest_threshold =
        std::min(distances.smallest_threshold, GetDouble(threshold, "min", "threshold"));
    distances.largest_threshold =
        std::max(distances.largest_threshold, GetDouble(threshold, "max", "threshold"));
  }
  return distances;
}

void ExpectNothing(double tolerance, const std::string& name) {
  ScanChoices choices;
  choices.tolerance = tolerance;
  const ScannedModel scanned(ShippedModel("reference-fp8"), name, choices);
  const Plan plan = scanned.MakePlan();
  EXPECT_TRUE(plan.groups.empty());
  EXPECT_TRUE(plan.untied.empty());
  const Distances distances = DistancesOf(plan);
  EXPECT_GT(distances.nearest, distances.largest_threshold);
  ExpectDecoysRefused(plan, name);
  std::printf("%s: nearest pair %.3f, thresholds %.3f to %.3f, groups %zu\n", name.c_str(),
              distances.nearest, distances.smallest_threshold, distances.largest_threshold,
              plan.groups.size());
}

TEST(ReferenceControl, NothingQualifiesAtItsOwnNoise) { ExpectNothing(1, "reference"); }

// Three times the FP8 threshold is what NVFP4 weights would allow.
TEST(ReferenceControl, NothingQualifiesAtTheNoiseOfFourBits) {
  ExpectNothing(3, "reference, tolerance 3");
}

// The router's correlations find groups where the outputs show none, and find them in noise too.
TEST(ReferenceControl, RouterCorrelationReportsCoveragesAndPlansNothing) {
  ScanChoices choices;
  choices.tokens = 4096;
  const ScannedModel scanned(ShippedModel("reference-fp8"), "reference, 4096 tokens", choices);
  PlanOptions options;
  options.method = "router-correlation";
  const Plan plan = scanned.MakePlan(options);
  EXPECT_TRUE(plan.groups.empty());
  const Json& correlation = GetMember(plan.controls, "router_correlation", "controls");
  for (const char* logits : {"real_logits", "permuted_tokens", "gaussian_noise"}) {
    const double coverage =
        GetDouble(GetMember(correlation, logits, "router correlation"), "coverage", logits);
    EXPECT_GT(coverage, 0.3) << logits;
    std::printf("router correlation on %s: coverage %.3f\n", logits, coverage);
  }
}

}  // namespace
}  // namespace cacheready
