// Router-correlation groups of all layers, beside the same procedure on logits that hold nothing to
// find.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "base/json.h"
#include "planning/router_correlation.h"
#include "records/scan_record.h"

namespace cacheready {

class CorrelationControl {
 public:
  // The null models are run on the first `null_layers` layers only: their coverage does not depend
  // on the layer.
  CorrelationControl(std::uint64_t seed, std::int64_t null_layers)
      : seed_(seed), null_layers_(null_layers) {}

  void Add(const LayerRecord& record);
  // Runs the procedure on all layers added, in parallel: coverages, groups, rows.
  Json Finish() const;

 private:
  struct Case {
    std::int64_t layer;
    RouterStatistics statistics;
  };
  Json Numbers(const std::vector<Case>& cases) const;

  std::uint64_t seed_;
  std::int64_t null_layers_;
  std::vector<Case> real_, permuted_, gaussian_;
};

}  // namespace cacheready
