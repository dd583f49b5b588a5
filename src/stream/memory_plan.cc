// SPDX-License-Identifier: Apache-2.0
#include "stream/memory_plan.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/memory.h"
#include "base/parallel.h"

namespace cacheready {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
// Expert outputs get a sixteenth of the limit: with what leads to them a quarter, as a rule.
constexpr std::uint64_t kShareOfOutputs = 16;
constexpr std::uint64_t kMostOutputs = 1024 * kMiB, kLeastOutputs = 4 * kMiB;

// Weights of one model at once.
struct Need {
  std::uint64_t bytes = 0;
  std::uint64_t expert_bytes = 0;  // of these, beside the common part: only for kExperts
};

Need NeedOf(const WeightStore& store, Residency residency, bool reads_head) {
  const std::int64_t parts = store.parts() - (reads_head ? 0 : 1);
  Need need;
  for (std::int64_t n = 0; n < parts; ++n) {
    if (residency == Residency::kExperts) {
      const std::uint64_t pair = 2 * store.LargestExpertBytes(n);
      need.bytes = std::max(need.bytes, store.CommonBytes(n) + pair);
      need.expert_bytes = std::max(need.expert_bytes, pair);
      continue;
    }
    const bool with_next = residency == Residency::kLayerAndNext && n + 1 < parts;
    need.bytes =
        std::max(need.bytes, store.PartBytes(n) + (with_next ? store.PartBytes(n + 1) : 0));
  }
  return need;
}

std::uint64_t OutputBytes(const MemoryRequest& request, std::uint64_t max_bytes) {
  if (request.output_bytes > 0) return request.output_bytes;
  return std::clamp(max_bytes / kShareOfOutputs, kLeastOutputs, kMostOutputs);
}

class Planner {
 public:
  Planner(std::span<const Model* const> models, const MemoryUse& use, const MemoryRequest& request)
      : models_(models), use_(use) {
    plan_.reading.mode = request.mode;
    plan_.reading.reads_head = use.reads_head;
    const MemoryBounds bounds = BoundMemory(request.max_bytes);
    plan_.max_bytes = bounds.max_bytes;
    plan_.base_bytes = bounds.base_bytes;
  }

  // Fewer outputs at once cost less than reading experts again, and more than not reading ahead.
  bool Run(std::uint64_t output_bytes, std::uint64_t least_output_bytes) {
    return Try(Residency::kLayerAndNext, output_bytes) || Try(Residency::kLayer, output_bytes) ||
           Try(Residency::kLayer, least_output_bytes) || Try(Residency::kExperts, output_bytes) ||
           Try(Residency::kExperts, least_output_bytes);
  }

  const MemoryPlan& plan() const { return plan_; }

 private:
  bool Try(Residency residency, std::uint64_t output_bytes) {
    plan_.reading.residency = residency;
    plan_.reading.output_bytes = plan_.reading.logit_bytes = output_bytes;
    plan_.weight_bytes.clear();
    std::uint64_t expert_bytes = 0, weights = 0;
    for (const Model* model : models_) {
      const Need need =
          model->store() == nullptr ? Need{} : NeedOf(*model->store(), residency, use_.reads_head);
      plan_.weight_bytes.push_back(need.bytes);
      weights += need.bytes;
      expert_bytes = std::max(expert_bytes, need.expert_bytes);
    }
    plan_.peak_bytes = plan_.base_bytes + use_.held_bytes + weights + OutputPeak();
    if (plan_.peak_bytes > plan_.max_bytes) return false;
    if (residency == Residency::kExperts) UseTheRest(expert_bytes);
    return true;
  }

  // Outputs of experts, and the work of those that run at once.
  std::uint64_t OutputPeak() const {
    if (use_.row_bytes == 0) return plan_.reading.output_bytes;
    const auto held = static_cast<std::int64_t>(plan_.reading.output_bytes) / use_.row_bytes;
    const std::int64_t rows = std::min(std::max<std::int64_t>(1, held), use_.output_rows);
    const std::int64_t running = std::min(rows, NumThreads() * use_.rows_per_expert);
    return static_cast<std::uint64_t>(rows * use_.row_bytes + running * use_.work_bytes);
  }

  // What is left goes to the experts read ahead, as far as there are more.
  void UseTheRest(std::uint64_t expert_bytes) {
    std::uint64_t all = expert_bytes;
    for (const Model* model : models_) {
      for (std::int64_t n = 0; model->store() != nullptr && n < model->store()->parts(); ++n) {
        all = std::max(all, model->store()->PartBytes(n) - model->store()->CommonBytes(n));
      }
    }
    const std::uint64_t more =
        std::min(all - expert_bytes,
                 (plan_.max_bytes - plan_.peak_bytes) / std::max<std::size_t>(1, models_.size()));
    plan_.reading.expert_bytes = expert_bytes + more;
    for (std::uint64_t& bytes : plan_.weight_bytes) bytes += more;
    plan_.peak_bytes += more * models_.size();
  }

  std::span<const Model* const> models_;
  MemoryUse use_;
  MemoryPlan plan_;
};

}  // namespace

MemoryUse StreamMemory(const Model& model, std::int64_t tokens, std::int64_t variants) {
  const ModelInfo& info = model.info();
  // Hidden state, x and y, and a copy of one of them while it is made, of each variant; its logits;
  // of the one that runs, what its matrices give and a copy of that.
  const std::int64_t columns =
      variants * (4 * info.hidden + 2 * info.experts) + 2 * (info.token_columns + info.hidden);
  MemoryUse use;
  use.held_bytes = static_cast<std::uint64_t>(tokens * columns) * sizeof(float);
  use.output_rows = tokens * info.top_k;
  use.rows_per_expert = tokens;
  use.row_bytes = info.hidden * static_cast<std::int64_t>(sizeof(float));
  // x and x packed, gate, up, their product and that packed.
  use.work_bytes =
      (2 * info.hidden + 4 * info.expert_width) * static_cast<std::int64_t>(sizeof(float));
  return use;
}

MemoryPlan PlanMemory(std::span<const Model* const> models, const MemoryUse& use,
                      const MemoryRequest& request) {
  Planner planner(models, use, request);
  const std::uint64_t least = request.output_bytes > 0 ? request.output_bytes : kLeastOutputs;
  if (planner.Run(OutputBytes(request, planner.plan().max_bytes), least)) return planner.plan();
  const std::uint64_t floor = planner.plan().peak_bytes;
  Fail(
      "--max-memory: {} MiB are too little for this run, which needs at least {} MiB (of these {} "
      "for weights, {} for activations and results, which fewer --tokens make less); use a machine "
      "with more memory or fewer tokens",
      planner.plan().max_bytes / kMiB, (floor + kMiB - 1) / kMiB,
      std::accumulate(planner.plan().weight_bytes.begin(), planner.plan().weight_bytes.end(),
                      std::uint64_t{0}) /
          kMiB,
      use.held_bytes / kMiB);
}

void Use(std::span<const Model* const> models, const MemoryPlan& plan) {
  for (std::size_t n = 0; n < models.size(); ++n) {
    if (models[n]->store() == nullptr) continue;
    ReadingPlan reading = plan.reading;
    reading.weight_bytes = plan.weight_bytes[n];
    models[n]->store()->Use(reading);
  }
}

WeightTraffic TrafficOf(const Model& model, bool reads_head) {
  WeightTraffic traffic;
  const WeightStore* store = model.store();
  if (store == nullptr) return traffic;
  for (std::int64_t n = 0; n < store->parts() - (reads_head ? 0 : 1); ++n) {
    traffic.once += store->PartBytes(n);
    traffic.experts += store->PartBytes(n) - store->CommonBytes(n);
  }
  traffic.once += store->EmbeddingBytes();
  return traffic;
}

}  // namespace cacheready
