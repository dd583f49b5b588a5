// SPDX-License-Identifier: Apache-2.0
#include "model/experts.h"

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace cacheready {
namespace {

using Shape = std::vector<std::int64_t>;

// One of the two fused weights of a layer.
struct Fused {
  std::string tensor;
  Shape shape;  // [experts, height, width], empty: not there
};

// True: [experts, in, out]. With the down projection [E, H, I] or [E, I, H] and the other [E, 2I,
// H] or [E, H, 2I], one of the two always tells (H cannot be I and 2I at once).
bool IsTransposed(const WeightReader& weights, const Fused& gate_up, const Fused& down,
                  const ExpertShape& shape) {
  const auto [experts, hidden, intermediate] = shape;
  if (gate_up.shape == Shape{experts, 2 * intermediate, hidden} &&
      down.shape == Shape{experts, hidden, intermediate}) {
    return false;
  }
  if (gate_up.shape == Shape{experts, hidden, 2 * intermediate} &&
      down.shape == Shape{experts, intermediate, hidden}) {
    return true;
  }
  Fail(
      "{}: fused experts '{}' {} and '{}' {} do not fit {} experts of hidden size {} and width {} "
      "(expected [{}, {}, {}] and [{}, {}, {}], or both transposed)",
      weights.checkpoint().folder().string(), gate_up.tensor, ShapeText(gate_up.shape), down.tensor,
      ShapeText(down.shape), experts, hidden, intermediate, experts, 2 * intermediate, hidden,
      experts, hidden, intermediate);
}

std::vector<FeedForward> OpenFused(const WeightReader& weights, const Fused& gate_up,
                                   const Fused& down, const ExpertShape& shape) {
  const bool transposed = IsTransposed(weights, gate_up, down, shape);
  const std::int64_t width = shape.intermediate;
  std::vector<FeedForward> experts;
  for (std::int64_t e = 0; e < shape.experts; ++e) {
    FeedForward expert;
    expert.gate = weights.OpenSlice(
        gate_up.tensor, {.index = e, .row_begin = 0, .rows = width, .transposed = transposed});
    expert.up = weights.OpenSlice(
        gate_up.tensor, {.index = e, .row_begin = width, .rows = width, .transposed = transposed});
    expert.down = weights.OpenSlice(down.tensor, {.index = e, .transposed = transposed});
    experts.push_back(std::move(expert));
  }
  return experts;
}

}  // namespace

std::int64_t ReadTopK(const ConfigReader& config, std::string_view key, std::int64_t experts) {
  const std::int64_t top_k = config.Size(key);
  if (top_k > experts) {
    Fail("{}: key '{}' is {}, more than the {} experts", config.what(), key, top_k, experts);
  }
  return top_k;
}

FeedForward OpenFeedForward(const WeightReader& weights, const std::string& module,
                            std::int64_t hidden, std::int64_t intermediate,
                            const ProjectionNames& names) {
  FeedForward ffn;
  ffn.gate = weights.Open(module + "." + names.gate, intermediate, hidden);
  ffn.up = weights.Open(module + "." + names.up, intermediate, hidden);
  ffn.down = weights.Open(module + "." + names.down, hidden, intermediate);
  return ffn;
}

OpenedExperts OpenExperts(const WeightReader& weights, const std::string& module,
                          const ExpertShape& shape, const ProjectionNames& names) {
  Fused gate_up{module + ".gate_up_proj", {}}, down{module + ".down_proj", {}};
  for (Fused* fused : {&gate_up, &down}) fused->shape = weights.FindFusedShape(fused->tensor);
  OpenedExperts opened;
  if (gate_up.shape.empty() && down.shape.empty()) {
    for (std::int64_t e = 0; e < shape.experts; ++e) {
      opened.experts.push_back(OpenFeedForward(weights, fmt::format("{}.{}", module, e),
                                               shape.hidden, shape.intermediate, names));
    }
    opened.layout = "per-expert";
    return opened;
  }
  if (gate_up.shape.empty() || down.shape.empty()) {
    const bool has_down = gate_up.shape.empty();
    Fail("{}: '{}' is there without '{}': fused experts need both",
         weights.checkpoint().folder().string(), (has_down ? down : gate_up).tensor,
         (has_down ? gate_up : down).tensor);
  }
  if (weights.Has(fmt::format("{}.0.{}.weight", module, names.gate))) {
    Fail("{}: '{}' is stored twice, fused ('{}') and per expert ('{}.0.{}.weight')",
         weights.checkpoint().folder().string(), module, gate_up.tensor, module, names.gate);
  }
  opened.experts = OpenFused(weights, gate_up, down, shape);
  opened.layout = "fused";
  return opened;
}

}  // namespace cacheready
