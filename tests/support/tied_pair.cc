// SPDX-License-Identifier: Apache-2.0
#include "support/tied_pair.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "base/random.h"
#include "model/model.h"
#include "planning/plan_maker.h"
#include "scan/scan.h"
#include "stream/forward.h"
#include "support/plan_replay.h"
#include "synth/routed_blocks.h"
#include "verify/verify.h"
#include "writer/writer.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

// 32 documents of 32 tokens and the probe: evidence for an expert that a fifth of them select.
constexpr std::int64_t kDocuments = 32, kDocumentTokens = 32;
constexpr std::int64_t kTokens = kDocuments * kDocumentTokens;

const MoeLayerInfo& InfoOf(const Model& model, std::int64_t layer) {
  const auto& layers = model.info().moe_layers;
  return *std::find_if(layers.begin(), layers.end(),
                       [&](const MoeLayerInfo& info) { return info.layer == layer; });
}

std::vector<std::string> RouterTensorsOf(const Model& model, std::int64_t layer) {
  const RouterTensors& tensors = InfoOf(model, layer).tensors;
  std::vector<std::string> names = {tensors.weight, tensors.logit_bias, tensors.selection_bias};
  std::erase(names, "");
  return names;
}

std::vector<std::byte> RowOf(const TensorView& tensor, std::int64_t experts, std::int64_t expert) {
  const auto row = EntryOf(tensor.bytes, experts, expert);
  return {row.begin(), row.end()};
}

// Rows of members are the plan's, all other bytes are the source's.
void ExpectOnlyPlannedRowsChanged(const ScannedPair& scanned, const Checkpoint& source,
                                  const Checkpoint& out, std::int64_t experts,
                                  const std::vector<std::string>& routers) {
  const PlannedGroup& group = scanned.plan.groups.at(0);
  ASSERT_EQ(group.tensors.size(), routers.size());
  for (std::size_t n = 0; n < routers.size(); ++n) {
    EXPECT_EQ(group.tensors[n].tensor, routers[n]);
    for (std::int64_t e = 0; e < experts; ++e) {
      const bool is_member = std::count(group.members.begin(), group.members.end(), e) > 0;
      const auto before = RowOf(source.GetTensor(routers[n]), experts, e);
      const auto after = RowOf(out.GetTensor(routers[n]), experts, e);
      EXPECT_EQ(after, is_member ? group.tensors[n].row : before) << routers[n] << " " << e;
    }
    EXPECT_NE(RowOf(source.GetTensor(routers[n]), experts, group.members[0]),
              RowOf(source.GetTensor(routers[n]), experts, group.members[1]))
        << routers[n] << ": nothing was to be tied";
  }
  ASSERT_EQ(out.TensorNames(), source.TensorNames());
  const std::set<std::string, std::less<>> changed(routers.begin(), routers.end());
  for (const std::string_view name : source.TensorNames()) {
    if (changed.contains(name)) continue;
    EXPECT_TRUE(std::ranges::equal(out.GetTensor(name).bytes, source.GetTensor(name).bytes))
        << name;
  }
}

Routing FirstTokens(Routing routing, std::int64_t tokens) {
  routing.ids.resize(static_cast<std::size_t>(tokens * routing.top_k));
  routing.weights.resize(routing.ids.size());
  routing.margin.resize(static_cast<std::size_t>(tokens));
  return routing;
}

void ExpectEqualRanks(const RoutedLayer& routed, std::int32_t first, std::int32_t second) {
  const Matrix ranking = RankingScores(routed.spec, routed.logits);
  for (std::int64_t t = 0; t < ranking.rows(); ++t) {
    ASSERT_EQ(routed.logits.at(t, first), routed.logits.at(t, second)) << t;
    ASSERT_EQ(ranking.at(t, first), ranking.at(t, second)) << t;
  }
}

void ExpectForecast(const ScannedPair& scanned, const Routing& real) {
  const LayerRecord record = ReadLayerRecord(scanned.scan, scanned.pair.layer);
  const Routing forecast = ReplayPlan(record, scanned.plan);
  EXPECT_EQ(real.ids, forecast.ids);
  for (std::size_t n = 0; n < real.weights.size(); ++n) {
    // A replay leaves the weights of tokens that selected no member: of a renormalized softmax only
    // their rounding depends on the rest.
    ASSERT_NEAR(real.weights[n], forecast.weights[n], 1e-6 * real.weights[n]) << n;
  }
  const Routing stored =
      Route(RouterSpecFromJson(record.router.spec, "router spec"), record.logits, Fp32Arithmetic());
  EXPECT_NE(real.ids, stored.ids);
  EXPECT_NE(real.weights, stored.weights);
}

}  // namespace

std::vector<Document> RandomDocuments(std::int64_t vocabulary) {
  std::vector<Document> documents;
  for (std::int64_t d = 0; d < kDocuments + kProbeDocuments; ++d) {
    Document document;
    // The probe takes half of a document of 64 tokens.
    for (std::int64_t n = 0; n < 2 * kDocumentTokens; ++n) {
      const std::uint64_t word =
          HashWords({static_cast<std::uint64_t>(d), 17, static_cast<std::uint64_t>(n)});
      document.ids.push_back(
          static_cast<std::int32_t>(word % static_cast<std::uint64_t>(vocabulary)));
    }
    document.sha256 = IdsSha256(document.ids);
    documents.push_back(std::move(document));
  }
  return documents;
}

CopiedExperts ChoosePair(const Checkpoint& source, RoutingGroup group) {
  const std::unique_ptr<Model> model = DescribeModel(source);
  const ScanText text =
      PrepareScanText(RandomDocuments(model->info().vocab), kTokens / 4, kDocumentTokens, 0);
  const ForwardOutputs outputs = RunForward(*model, text.batch, Fp32Arithmetic());
  const auto& routers = outputs.routers;
  const auto chosen = std::find_if(routers.rbegin(), routers.rend(), [](const auto& router) {
    return router.second.spec.top_k >= 2;
  });
  const auto& [layer, routed] = chosen == routers.rend() ? *routers.rbegin() : *chosen;
  std::vector<std::int64_t> used(static_cast<std::size_t>(routed.spec.experts));
  for (const std::int32_t e : routed.routing.ids) ++used[static_cast<std::size_t>(e)];
  const auto from_half = [&](std::int64_t count) {
    return std::abs(2 * count - text.batch.tokens());
  };
  const auto nearest =
      std::min_element(used.begin(), used.end(),
                       [&](std::int64_t a, std::int64_t b) { return from_half(a) < from_half(b); });
  const auto first = static_cast<std::size_t>(nearest - used.begin());
  const auto size = static_cast<std::size_t>(routed.spec.experts / routed.spec.num_groups);
  std::size_t second = used.size();
  for (std::size_t e = 0; e < used.size(); ++e) {
    const bool same_group = e / size == first / size;
    if (e == first || same_group != (group == RoutingGroup::kSame)) continue;
    if (second == used.size() || used[e] < used[second]) second = e;
  }
  return {layer, false, {static_cast<std::int32_t>(first), static_cast<std::int32_t>(second)}};
}

void PlantPair(const Checkpoint& source, const CopiedExperts& pair, const fs::path& out) {
  WritePlanted(source, {.row_noise = 0.01, .bias_noise = 0.01, .chosen = {pair}}, out);
}

ScannedPair ScanPair(const fs::path& planted, const CopiedExperts& pair, const fs::path& scan) {
  const Checkpoint checkpoint = Checkpoint::Open(planted);
  const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  const std::vector<Document> documents = RandomDocuments(model->info().vocab);
  ScanOptions options;
  options.tokens = kTokens;
  options.document_tokens = kDocumentTokens;
  options.decoys_per_layer = 2;
  RunScan(checkpoint, *model, documents, options, scan);
  PlanOptions plan_options;
  plan_options.bootstrap_draws = 200;
  plan_options.controls = false;
  plan_options.budget = 100;  // a random model of this size has almost no profile change to share
  return {pair, planted, scan, PrepareScanText(documents, kTokens, kDocumentTokens, 0),
          MakePlan(scan, plan_options)};
}

void ExpectTied(const ScannedPair& scanned, const fs::path& out) {
  const Plan& plan = scanned.plan;
  std::vector<std::int32_t> members = scanned.pair.members;
  std::sort(members.begin(), members.end());
  ASSERT_EQ(plan.groups.size(), 1u) << WriteJson(plan.untied);
  EXPECT_EQ(plan.groups[0].layer, scanned.pair.layer);
  EXPECT_EQ(plan.groups[0].members, members);

  const Checkpoint source = Checkpoint::Open(scanned.planted);
  WriteCheckpoint(source, RowPatches(plan), WriteJson(ToJson(plan)), out, {});
  const Verification verification = VerifyCheckpoint(scanned.planted, out, {});
  EXPECT_TRUE(verification.passed && verification.checked_against_plan)
      << WriteJson(ToJson(verification));
  EXPECT_EQ(verification.groups_identical, 1);
  const Checkpoint written = Checkpoint::Open(out);
  const std::unique_ptr<Model> model = DescribeModel(written);
  ExpectOnlyPlannedRowsChanged(scanned, source, written, model->info().experts,
                               RouterTensorsOf(*model, scanned.pair.layer));
  const RoutedLayer routed =
      RunForward(*model, scanned.text.batch, Fp32Arithmetic()).routers.at(scanned.pair.layer);
  ExpectEqualRanks(routed, members[0], members[1]);
  ExpectForecast(scanned, FirstTokens(routed.routing, scanned.text.tokens));
}

}  // namespace cacheready
