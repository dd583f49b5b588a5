// From a finished scan to a plan: a pure function of the records and the options.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "records/plan.h"
#include "records/scan_record.h"

namespace cacheready {

struct PlanOptions {
  double tolerance = 1.0;      // of sqrt(2) * rendition noise
  double budget = 0.5;         // of each layer's mean squared profile-pass change of y
  std::int64_t max_group = 0;  // members of a group at most; 0: the router's top k
  std::uint64_t seed = 0;      // of document halves, bootstrap and controls
  int bootstrap_draws = 1000;
  // "outputs": experts compared by what they compute. "router-correlation": the published release's
  // method, as a control: coverages are reported, no group is planned.
  std::string method = "outputs";
  std::string mtp = "leave";  // "patch" is refused: MTP experts are stored, not run
  bool controls = true;       // decoys are always judged; this adds the other controls
  std::int64_t null_layers =
      8;  // layers on which router correlation is also run on its null models
};

// Reads SCAN/ only. Same records and options, same plan: no path, time, host or thread count
// enters. Fails on malformed records, on options out of range, and on --mtp patch.
Plan MakePlan(const std::filesystem::path& scan, const PlanOptions& options);

// The same from records that the caller provides, one layer at a time.
using LayerReader = std::function<LayerRecord(std::int64_t layer)>;
Plan MakePlan(const ScanHeader& header, const LayerReader& read_layer, const PlanOptions& options);

}  // namespace cacheready
