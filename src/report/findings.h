// The numbers that the report shows, read out of the stages' JSON. The only place that knows their
// keys; an empty optional was not measured.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "report/report.h"

namespace cacheready {

struct LayerFindings {
  std::int64_t layer = 0;
  std::optional<std::int64_t> experts, with_evidence;  // "evidence": enough sampled tokens
  std::optional<double> nearest_distance;              // smallest of any pair of the layer
  std::optional<double> threshold;                     // that this nearest pair would have to meet
  std::optional<std::int64_t> candidates, confirmed, lost;  // pairs
  std::optional<std::int64_t> groups, tied_experts;
  std::optional<double> budget_used;  // share of what the layer may change
};

struct GroupFindings {
  std::int64_t layer = 0;
  std::vector<std::int32_t> members;
  std::string rule;
  std::optional<double> ratio;           // largest distance over its threshold inside the group
  std::optional<double> tokens_changed;  // share of tokens whose per-class counts change
  std::optional<double> gate_mass;       // share of the gate mass moved
  std::optional<double> output_change;   // RMS ||dy|| / ||y||
  std::optional<double> flips;           // forecast of addressable flips
  std::vector<std::string> untested_domains;
};

struct UntiedFindings {
  std::int64_t layer = 0;
  std::vector<std::int32_t> members;
  std::optional<double> gate_mass;
  std::string reason;
};

// A grouping made for comparison: how many groups it forms and the share of experts in them.
struct ControlGroups {
  std::optional<std::int64_t> groups;
  std::optional<double> coverage;
};

struct ControlFindings {
  std::optional<std::int64_t> decoys, decoys_refused;
  std::optional<double> split_half_agreement;
  std::optional<ControlGroups> permuted, correlation_real, correlation_noise;
};

struct Estimate {
  std::optional<double> mean, low, high;  // 95 % interval by document
  std::optional<double> upper;            // one-sided 95 % limit
};

struct VariantFindings {
  std::string name;
  std::optional<std::int64_t> groups;
  Estimate kl;                  // KL(base || this), nats per token
  std::optional<double> flips;  // share of token-layers with another selection than the base
  std::optional<double> same_top;
  Estimate nll_difference;
  std::optional<bool> accepted;
};

struct CheckFindings {
  std::optional<bool> accepted;
  std::optional<double> limit;  // KL that the upper limit must not exceed
  std::optional<std::int64_t> tokens, documents;
  VariantFindings profile;                // the original under its own profile
  std::vector<VariantFindings> prefixes;  // of the plan, as measured
  std::optional<VariantFindings> chosen;  // the set that was written
};

struct ProofFindings {
  bool passed = false;
  bool against_plan = false;
  std::int64_t tensors = 0, tensors_changed = 0, rows_changed = 0, groups_identical = 0;
  std::int64_t bytes_compared = 0, bytes_changed = 0;
  std::vector<std::pair<std::string, std::string>> findings;  // place, message
  struct File {
    std::string path, sha256_source, sha256_out;
  };
  std::vector<File> changed_files;
};

// One way of serving, compared with the reference before and after tying.
struct RoutingFindings {
  std::string name;
  std::optional<double> flips_before, flips_after;
  std::optional<double> within, across, singleton;  // shares before
};

struct TextFindings {
  std::vector<std::pair<std::string, std::int64_t>> domains;  // tokens of each
  std::optional<std::int64_t> tokens, documents, longest_context;
};

struct Findings {
  bool planned = false;
  std::string tool_version, family, profile, numerics_class, scan_key, layout_sha256;
  std::optional<double> tolerance, budget;
  std::vector<LayerFindings> layers;
  std::vector<GroupFindings> groups;
  std::vector<UntiedFindings> untied;
  ControlFindings controls;
  TextFindings text;
  std::optional<CheckFindings> check;
  std::optional<ProofFindings> proof;
  std::vector<VariantFindings> evaluated;  // eval: [0] is the base
  std::optional<std::string> quality_verdict;
  std::vector<RoutingFindings> routing;
  // run.json
  std::string command, source, output;
  std::optional<std::int64_t> seed;
  std::optional<bool> written;

  std::int64_t TiedExperts() const;
  std::optional<std::int64_t> Experts() const;  // of all layers
};

Findings ReadFindings(const ReportInputs& inputs);

}  // namespace cacheready
