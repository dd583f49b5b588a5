// How a run stays within a limit of memory: what of the weights is in memory at once, decided
// before anything is read. The results are the same whatever is decided.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/model.h"
#include "model/weight_store.h"

namespace cacheready {

// What a run needs besides weights, at most.
struct MemoryUse {
  std::uint64_t held_bytes = 0;  // activations, results
  // Expert outputs, rows of `row_bytes`: no more than so many are ever wanted at once, and an
  // expert runs on no more than `rows_per_expert` of them, taking `work_bytes` for each while it
  // runs.
  std::int64_t output_rows = 0, rows_per_expert = 0;
  std::int64_t row_bytes = 0, work_bytes = 0;
  bool reads_head = true;
};

// Activations of `variants` runs side by side over `tokens` tokens.
MemoryUse StreamMemory(const Model& model, std::int64_t tokens, std::int64_t variants);

struct MemoryRequest {
  std::uint64_t max_bytes = 0;     // of the process; 0: 60 % of what the machine or group has
  std::uint64_t output_bytes = 0;  // of expert outputs; 0: a share of max_bytes
  ReadMode mode = ReadMode::kAuto;
};

struct MemoryPlan {
  ReadingPlan reading;                      // of all models but for their weight_bytes
  std::vector<std::uint64_t> weight_bytes;  // of each model
  std::uint64_t max_bytes = 0;
  std::uint64_t base_bytes = 0;  // in use before
  std::uint64_t peak_bytes = 0;  // in all, at most
};

// The most that fits of: a layer and the next, a layer, a layer without its experts. Fails, naming
// the least that is enough, if none does. Models without a store need nothing.
MemoryPlan PlanMemory(std::span<const Model* const> models, const MemoryUse& use,
                      const MemoryRequest& request);
// Makes the models keep to it.
void Use(std::span<const Model* const> models, const MemoryPlan& plan);

// Bytes that one run over the layers reads, if each part is read once; and of these those of
// routed experts, which are read once a pass over them where they are not kept.
struct WeightTraffic {
  std::uint64_t once = 0, experts = 0;
};
WeightTraffic TrafficOf(const Model& model, bool reads_head);

}  // namespace cacheready
