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

struct ReportedSpread {
  std::optional<double> min, median, max;
};

struct ReportedLayer {
  std::int64_t layer = 0;
  std::optional<std::int64_t> experts, with_evidence;  // "evidence": enough sampled tokens
  // Over the experts: distance to the nearest other one on probe tokens, and the RMS distance of
  // two renditions of one expert, which is the most that is allowed.
  ReportedSpread nearest_distance, threshold;
  std::optional<std::int64_t> candidates, unknown_candidates, confirmed, lost;  // pairs
  std::optional<std::int64_t> groups_equivalent, groups_tied;
  std::optional<double> coverage;                      // share of experts in tied groups
  std::optional<double> budget_used;                   // share of what the layer may change
  std::optional<double> flips_profile, flips_removed;  // shares of tokens; forecast
  std::optional<std::int64_t> starved;                 // experts selected before and never after
};

struct ReportedGroup {
  std::int64_t layer = 0;
  std::vector<std::int32_t> members;
  std::string rule;
  std::optional<double> ratio;           // largest distance over its threshold inside the group
  std::optional<double> tokens_changed;  // share of tokens whose per-class counts change
  std::optional<double> gate_mass;       // share of the gate mass moved
  std::optional<double> output_change;   // RMS ||dy|| / ||y||
  std::optional<double> flips_addressable, flips_removed;  // shares of tokens; the second forecast
  std::vector<std::string> untested_domains;               // of any pair inside
  std::vector<std::string> warnings;                       // of the plan
};

struct ReportedUntied {
  std::int64_t layer = 0;
  std::vector<std::int32_t> members;
  std::optional<double> ratio, gate_mass;
  std::string reason;
};

// What grouping by router correlation finds on some logits.
struct ReportedGrouping {
  std::optional<std::int64_t> layers, groups;
  std::optional<double> coverage;  // mean share of experts in groups
};

struct ReportedControls {
  std::string method;
  std::optional<std::int64_t> decoys, decoys_refused, decoys_without_evidence;
  std::optional<std::int64_t> split_half_layers;  // in which either half found a group
  std::optional<double> split_half_agreement;     // pair Jaccard, mean over those layers
  std::optional<ReportedGrouping> correlation_real, correlation_permuted, correlation_noise;
};

struct ReportedEstimate {
  std::optional<double> mean, low, high;  // 95 % interval by document
  std::optional<double> upper;            // one-sided 95 % limit
};

struct ReportedVariant {
  std::string name;
  std::optional<std::int64_t> groups;
  ReportedEstimate kl;          // KL(base || this), nats per token
  std::optional<double> flips;  // share of token-layers with another selection than the base
  std::optional<double> same_top;
  ReportedEstimate nll_difference;
  std::optional<bool> accepted;
};

struct ReportedCheck {
  std::optional<bool> accepted;
  std::optional<double> limit;  // KL that the upper limit must not exceed
  std::optional<std::int64_t> tokens, documents;
  ReportedVariant profile;                // the original under its own profile
  std::vector<ReportedVariant> prefixes;  // of the plan, as measured
  std::optional<ReportedVariant> chosen;  // the set that was written
};

struct ReportedProof {
  bool passed = false;
  bool against_plan = false;
  std::int64_t tensors = 0, tensors_changed = 0, rows_changed = 0, groups_identical = 0;
  std::int64_t bytes_compared = 0, bytes_changed = 0;
  std::int64_t findings_total = 0;
  std::vector<std::pair<std::string, std::string>> findings;  // the first: place, message
  struct File {
    std::string path, sha256_source, sha256_out;
  };
  std::vector<File> changed_files;
  std::vector<std::string> left_out;  // files of the source that were not carried over
};

// One way of serving, compared with the reference before and after tying.
struct ReportedRouting {
  std::string name;
  std::optional<double> flips_before, flips_after;
  std::optional<double> within, across, singleton;  // shares before
};

struct ReportedText {
  std::vector<std::pair<std::string, std::int64_t>> domains;  // tokens of each
  std::optional<std::int64_t> tokens, documents, longest_context;
};

struct ReportFindings {
  bool planned = false;
  std::string tool_version, family, profile, numerics_class, scan_key, layout_sha256;
  std::optional<double> tolerance, budget;
  std::vector<ReportedLayer> layers;
  std::vector<ReportedGroup> groups;
  std::vector<ReportedUntied> untied;
  ReportedControls controls;
  ReportedText text;
  std::optional<ReportedCheck> check;
  std::optional<ReportedProof> proof;
  std::vector<ReportedVariant> evaluated;  // eval: [0] is the base
  std::optional<std::string> quality_verdict;
  std::vector<ReportedRouting> routing;
  // run.json
  std::string command, source, output;
  std::optional<std::int64_t> seed;
  std::optional<bool> written;

  std::int64_t TiedExperts() const;
  std::optional<std::int64_t> Experts() const;  // of all layers
};

ReportFindings ReadFindings(const ReportInputs& inputs);

}  // namespace cacheready
