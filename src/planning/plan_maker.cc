// SPDX-License-Identifier: Apache-2.0
#include "planning/plan_maker.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"
#include "planning/correlation_control.h"
#include "planning/layer_plan.h"
#include "planning/text_layout.h"
#include "records/scan_part.h"

namespace cacheready {
namespace {

constexpr std::string_view kMethods[] = {"outputs", "router-correlation"};

void CheckOptions(const PlanOptions& options) {
  if (!(options.tolerance > 0)) Fail("--tolerance is {}, expected a number > 0", options.tolerance);
  if (!(options.budget >= 0)) Fail("--budget is {}, expected a number >= 0", options.budget);
  if (options.max_group == 1 || options.max_group < 0) {
    Fail("--max-group is {}, expected 0 (the router's top k) or at least 2", options.max_group);
  }
  if (options.bootstrap_draws < 200) {
    Fail("{} bootstrap draws are too few for a 95 % limit, expected at least 200",
         options.bootstrap_draws);
  }
  if (std::find(std::begin(kMethods), std::end(kMethods), options.method) == std::end(kMethods)) {
    Fail("--method is '{}', expected 'outputs' or 'router-correlation'", options.method);
  }
  if (options.mtp == "patch") {
    Fail(
        "--mtp patch: the experts of the multi-token-prediction block are stored but not run by a "
        "scan, so nothing is known about their outputs; use --mtp leave");
  }
  if (options.mtp != "leave") Fail("--mtp is '{}', expected 'leave'", options.mtp);
}

Json TextNumbers(const ScanHeader& header) {
  struct Domain {
    std::int64_t documents = 0, tokens = 0;
  };
  std::map<std::string, Domain> domains;
  std::int64_t tokens = 0, longest = 0;
  for (const ScannedDocument& document : header.documents) {
    Domain& domain = domains[document.domain];
    ++domain.documents;
    domain.tokens += document.tokens;
    tokens += document.tokens;
    longest = std::max(longest, document.tokens);
  }
  Json json;
  json["documents"] = header.documents.size();
  json["tokens"] = tokens;
  json["probe_tokens"] = header.probe_tokens;
  json["longest_context"] = longest;
  json["domains"] = Json::array();
  for (const auto& [name, domain] : domains) {
    Json entry;
    entry["domain"] = name;
    entry["documents"] = domain.documents;
    entry["tokens"] = domain.tokens;
    json["domains"].push_back(std::move(entry));
  }
  json["scope"] = "text only: image tokens not measured";
  // So that a check can tell which text is new.
  json["scanned"] = Json::array();
  const auto add_scanned = [&](const Json& sha256, const Json& document_tokens) {
    Json entry;
    entry["sha256"] = sha256;
    entry["tokens"] = document_tokens;
    json["scanned"].push_back(std::move(entry));
  };
  for (const ScannedDocument& document : header.documents) {
    add_scanned(document.sha256, document.tokens);
  }
  if (const Json* probe = FindMember(header.options, "probe_documents")) {
    for (const Json& document : *probe) {
      add_scanned(GetMember(document, "sha256", "scan.json: probe_documents"),
                  GetMember(document, "tokens", "scan.json: probe_documents"));
    }
  }
  return json;
}

// Sums over layers of what the layers report.
struct Totals {
  DecoyCounts decoys;
  double agreement = 0;
  std::int64_t layers_with_groups = 0;
  std::int64_t experts = 0, confirmed = 0, tied = 0;

  void Add(const LayerPlan& layer) {
    decoys.measured += layer.decoys.measured;
    decoys.refused += layer.decoys.refused;
    decoys.without_evidence += layer.decoys.without_evidence;
    if (layer.split_half_found) {
      agreement += layer.split_half_agreement;
      ++layers_with_groups;
    }
    experts += layer.experts;
    confirmed += layer.confirmed_experts;
    tied += layer.tied_experts;
  }
};

Json Ratio(std::int64_t part, std::int64_t whole) {
  if (whole == 0) return nullptr;
  return static_cast<double>(part) / static_cast<double>(whole);
}

Json ControlNumbers(const Totals& totals, const PlanOptions& options) {
  Json json;
  json["coverage"]["equivalent"] = Ratio(totals.confirmed, totals.experts);
  json["coverage"]["tied"] = Ratio(totals.tied, totals.experts);
  json["decoys"]["measured"] = totals.decoys.measured;
  json["decoys"]["refused"] = totals.decoys.refused;
  json["decoys"]["without_evidence"] = totals.decoys.without_evidence;
  json["decoys"]["refusal_rate"] = Ratio(totals.decoys.refused, totals.decoys.measured);
  if (options.controls) {
    json["split_half"]["layers_with_groups"] = totals.layers_with_groups;
    json["split_half"]["pair_agreement"] =
        totals.layers_with_groups == 0
            ? Json(nullptr)
            : Json(totals.agreement / static_cast<double>(totals.layers_with_groups));
  }
  return json;
}

Plan PlanOf(const ScanHeader& header, const PlanOptions& options) {
  Plan plan;
  plan.tool_version = header.tool_version;
  plan.family = header.family;
  plan.profile = header.profile;
  plan.numerics_class = header.numerics_class;
  plan.scan_key = header.key;
  plan.layout_sha256 = header.layout_sha256;
  plan.tolerance = options.tolerance;
  plan.budget = options.budget;
  plan.untied = Json::array();
  plan.layers = Json::array();
  plan.text = TextNumbers(header);
  return plan;
}

}  // namespace

Plan MakePlan(const ScanHeader& header, const LayerReader& read_layer, const PlanOptions& options) {
  CheckOptions(options);
  if (header.part.of != 1) {
    Fail("the scan is only {}: merge all parts first, `cacheready merge PART... -o SCAN`",
         PartText(header.part));
  }
  Plan plan = PlanOf(header, options);
  const TextLayout text = MakeTextLayout(header.documents, options.seed);
  LayerPlanOptions layer_options;
  layer_options.evidence.tolerance = options.tolerance;
  layer_options.evidence.draws = options.bootstrap_draws;
  layer_options.evidence.seed = options.seed;
  layer_options.budget = options.budget;
  layer_options.max_group = options.max_group;
  layer_options.split_half = options.controls;

  const bool by_outputs = options.method == "outputs";
  Totals totals;
  CorrelationControl correlation(options.seed, options.null_layers);
  for (const std::int64_t layer : header.moe_layers) {
    const LayerRecord record = read_layer(layer);
    CheckRecord(text, record);
    if (options.controls || !by_outputs) correlation.Add(record);
    if (!by_outputs) continue;
    LayerPlan layer_plan = PlanLayer(text, record, layer_options);
    totals.Add(layer_plan);
    std::move(layer_plan.groups.begin(), layer_plan.groups.end(), std::back_inserter(plan.groups));
    for (Json& untied : layer_plan.untied) plan.untied.push_back(std::move(untied));
    plan.layers.push_back(std::move(layer_plan.summary));
  }

  plan.controls["method"] = options.method;
  plan.controls["seed"] = options.seed;
  plan.controls["max_group"] = options.max_group;
  plan.controls["mtp"] = options.mtp;
  if (by_outputs) plan.controls.update(ControlNumbers(totals, options));
  if (options.controls || !by_outputs) {
    plan.controls["router_correlation"] = correlation.Finish();
  }
  return plan;
}

Plan MakePlan(const std::filesystem::path& scan, const PlanOptions& options) {
  return MakePlan(
      ReadScanHeader(scan), [&](std::int64_t layer) { return ReadLayerRecord(scan, layer); },
      options);
}

}  // namespace cacheready
