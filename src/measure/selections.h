// What the routers of one run selected, and how two runs differ in it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "model/router.h"
#include "records/plan.h"

namespace cacheready {

struct LayerSelections {
  std::int64_t layer = 0;
  std::int64_t top_k = 0;
  std::vector<std::int32_t> ids;  // [tokens * top_k], ascending within a token
};
using Selections = std::vector<LayerSelections>;  // routed layers, ascending

LayerSelections SelectionsOf(std::int64_t layer, const Routing& routing);

// Groups of experts that count as one class, by layer.
using GroupsByLayer = std::map<std::int64_t, std::vector<std::vector<std::int32_t>>>;
GroupsByLayer MembersByLayer(std::span<const PlannedGroup> groups);

// Token-layers whose set of selected experts differs; the order of ids means nothing.
// within + across + singleton = total.
struct SelectionFlips {
  std::int64_t tokens = 0;
  std::int64_t total = 0;
  std::int64_t within = 0;             // other ids, the same number of members of every class
  std::int64_t across = 0;             // other numbers, and a member came or went
  std::int64_t singleton = 0;          // the others
  std::vector<std::int64_t> by_layer;  // [layers]: flipped tokens
  std::vector<std::int32_t> by_token;  // [tokens]: flipped layers

  double share() const;  // of all token-layers; 0 if there are none
};
// Requires: runs of the same tokens through the same layers.
SelectionFlips CompareSelections(const Selections& reference, const Selections& other,
                                 const GroupsByLayer& groups = {});

}  // namespace cacheready
