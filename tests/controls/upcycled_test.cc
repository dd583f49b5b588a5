// Experts that descend from one dense layer: groups are there to be found, and what a plan
// forecasts of them is compared with what the patched model does.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <map>

#include "compute/sequence_ops.h"
#include "controls/controls.h"
#include "measure/check.h"
#include "measure/overrides.h"
#include "planning/budget.h"
#include "stream/stream.h"
#include "support/plan_replay.h"

namespace cacheready {
namespace {

// Members of each class that each token selects.
using ClassCounts = std::vector<std::map<std::int32_t, int>>;
ClassCounts CountClasses(const Routing& routing, std::span<const std::int32_t> class_of,
                         std::int64_t tokens) {
  ClassCounts counts(static_cast<std::size_t>(tokens));
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (const std::int32_t e : routing.ids_of(t)) {
      ++counts[static_cast<std::size_t>(t)][class_of[static_cast<std::size_t>(e)]];
    }
  }
  return counts;
}

double ShareDifferent(const ClassCounts& a, const ClassCounts& b) {
  double different = 0;
  for (std::size_t t = 0; t < a.size(); ++t) different += a[t] == b[t] ? 0 : 1;
  return different / static_cast<double>(a.size());
}

double MeanSquareChange(const Matrix& before, const Matrix& after, std::int64_t tokens) {
  double sum = 0;
  for (std::int64_t t = 0; t < tokens; ++t) {
    sum += SquaredDistance(before.row(t), after.row(t)) / SquaredNorm(before.row(t));
  }
  return sum / static_cast<double>(tokens);
}

class UpcycledControl : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    scanned_ = new ScannedModel(ShippedModel("upcycled-fp8"), "upcycled");
    plan_ = new Plan(scanned_->MakePlan());
  }
  static void TearDownTestSuite() {
    delete plan_;
    delete scanned_;
  }

  static const ScannedModel* scanned_;
  static const Plan* plan_;
};
const ScannedModel* UpcycledControl::scanned_ = nullptr;
const Plan* UpcycledControl::plan_ = nullptr;

TEST_F(UpcycledControl, ItsGroupsAreFoundAndTied) {
  const Json& coverage = GetMember(plan_->controls, "coverage", "controls");
  std::printf("upcycled: equivalent %.3f, tied %.3f, in %zu groups\n",
              GetDouble(coverage, "equivalent", "coverage"),
              GetDouble(coverage, "tied", "coverage"), plan_->groups.size());
  EXPECT_GT(GetDouble(coverage, "tied", "coverage"), 0.75);
  ExpectDecoysRefused(*plan_, "upcycled");
}

TEST_F(UpcycledControl, ForecastsAreWhatThePatchedModelDoes) {
  const Source& source = scanned_->source();
  const RouterOverrides overrides = MakeOverrides(*source.model, source.checkpoint, plan_->groups);
  const std::vector<Variant> variants = {
      {.name = "original", .arithmetic = Fp32Arithmetic()},
      {.name = "patched", .arithmetic = Fp32Arithmetic(), .overrides = &overrides}};
  const ScanText text = scanned_->Text();
  const auto observe = [&](std::int64_t layer, const Layer& opened,
                           std::span<const LayerActivations> passes) {
    const MoeBlock& moe = *opened.moe();
    const LayerActivations& original = passes[0];
    const auto classes = ClassesOf(moe.router.experts, GroupsOf(*plan_, layer));
    const auto counts = [&](const Routing& routing) {
      return CountClasses(routing, classes, text.tokens);
    };
    // The patched router on the original input of the layer.
    const Routing fed =
        Route(moe.router,
              Linear(Fp32Arithmetic(), Role::kRouter, *overrides.at(layer).weight, original.x),
              Fp32Arithmetic());
    EXPECT_TRUE(counts(ReplayPlan(scanned_->Layer(layer), *plan_)) == counts(fed)) << layer;
    // Patched layers above change the input of this one: what differs then is drift, not replay.
    const double drift = ShareDifferent(counts(fed), counts(passes[1].routing));
    if (layer == 0) {
      EXPECT_EQ(drift, 0);
    }

    const Json& summary = plan_->layers[static_cast<std::size_t>(layer)];
    const Json& effects = GetMember(summary, "effects", "layer summary");
    const double changed = ShareDifferent(counts(original.routing), counts(fed));
    EXPECT_EQ(changed, GetDouble(effects, "class_counts_changed", "effects")) << layer;
    const double real =
        MeanSquareChange(original.y, RunMoe(Fp32Arithmetic(), moe, original.x, fed), text.tokens);
    const double forecast = std::pow(GetDouble(effects, "rms_change", "effects"), 2);
    EXPECT_GE(forecast, real) << layer;
    EXPECT_LT(forecast, 2 * real) << layer;
    std::printf(
        "layer %lld: class counts change for %.2f %% of the tokens as forecast, %.2f %% more or "
        "less with the drift from above; (|y' - y| / |y|)^2 %.3e, forecast %.3e, limit %.3e\n",
        static_cast<long long>(layer), 100 * changed, 100 * drift, real, forecast,
        GetDouble(GetMember(summary, "budget", "summary"), "limit", "budget"));
  };
  StreamState state = BeginStream(*source.model, text.batch, variants);
  RunLayers(*source.model, text.batch, variants, observe, state);
}

TEST_F(UpcycledControl, TyingMakesRoutingMoreRepeatableWithinTheBudget) {
  const Source& source = scanned_->source();
  const CheckResult result = CheckPlan(*source.model, source.checkpoint, *plan_,
                                       EvaluationDocuments(source, 4096, 128), {});
  double before = 0, after = 0, scanned = 0;
  for (const Json& layer : plan_->layers) {
    const Json& flips = GetMember(layer, "flips", "layer");
    before += GetDouble(flips, "forecast_before", "flips") / 4;
    after += GetDouble(flips, "forecast_after", "flips") / 4;
    scanned += GetDouble(flips, "profile", "flips") / 4;
  }
  std::printf(
      "upcycled: check chose %lld of %zu groups, KL %.5f (upper limit %.5f, accepted up to %.5f); "
      "flips %.4f -> %.4f, forecast %.4f -> %.4f, on the scanned text %.4f before\n",
      static_cast<long long>(result.chosen.groups), plan_->groups.size(), result.chosen.kl.mean,
      result.chosen.kl.upper, result.limit, result.before.share(), result.after.share(), before,
      after, scanned);
  EXPECT_EQ(result.chosen.groups, static_cast<std::int64_t>(plan_->groups.size()));
  EXPECT_LE(result.chosen.kl.upper, result.limit);
  EXPECT_LT(result.after.share(), 0.75 * result.before.share());
  EXPECT_NEAR(before, scanned, 0.2 * scanned);
  EXPECT_NEAR(after, result.after.share(), 0.3 * result.after.share());
}

}  // namespace
}  // namespace cacheready
