// SPDX-License-Identifier: Apache-2.0
#include "model/experts.h"

#include <utility>

#include "base/error.h"

namespace cacheready {
namespace {

bool HasShape(const TensorView& tensor, std::int64_t a, std::int64_t b, std::int64_t c) {
  return tensor.shape == std::vector<std::int64_t>{a, b, c};
}

void RequirePlain(const TensorView& tensor) {
  if (tensor.dtype == Dtype::kBF16 || tensor.dtype == Dtype::kF16 || tensor.dtype == Dtype::kF32) {
    return;
  }
  Fail(
      "{}: fused experts '{}' are stored as {}, expected BF16, F16 or F32: a quantized checkpoint "
      "with one tensor an expert and projection is read, a quantized fused one is not",
      tensor.file, tensor.name, DtypeName(tensor.dtype));
}

// True: [experts, in, out]. With the down projection [E, H, I] or [E, I, H] and the other [E, 2I,
// H] or [E, H, 2I], one of the two always tells (H cannot be I and 2I at once).
bool IsTransposed(const TensorView& gate_up, const TensorView& down, const ExpertShape& shape) {
  const auto [experts, hidden, intermediate] = shape;
  if (HasShape(gate_up, experts, 2 * intermediate, hidden) &&
      HasShape(down, experts, hidden, intermediate)) {
    return false;
  }
  if (HasShape(gate_up, experts, hidden, 2 * intermediate) &&
      HasShape(down, experts, intermediate, hidden)) {
    return true;
  }
  Fail(
      "{}: fused experts '{}' {} and '{}' {} do not fit {} experts of hidden size {} and width {} "
      "(expected [{}, {}, {}] and [{}, {}, {}], or both transposed)",
      gate_up.file, gate_up.name, ShapeText(gate_up.shape), down.name, ShapeText(down.shape),
      experts, hidden, intermediate, experts, 2 * intermediate, hidden, experts, hidden,
      intermediate);
}

std::vector<FeedForward> OpenFused(const TensorView& gate_up, const TensorView& down,
                                   const ExpertShape& shape) {
  RequirePlain(gate_up);
  RequirePlain(down);
  const bool transposed = IsTransposed(gate_up, down, shape);
  const std::int64_t width = shape.intermediate;
  std::vector<FeedForward> experts;
  for (std::int64_t e = 0; e < shape.experts; ++e) {
    FeedForward expert;
    expert.gate = MakePlainMatrix(
        gate_up, {.index = e, .row_begin = 0, .rows = width, .transposed = transposed});
    expert.up = MakePlainMatrix(
        gate_up, {.index = e, .row_begin = width, .rows = width, .transposed = transposed});
    expert.down = MakePlainMatrix(down, {.index = e, .transposed = transposed});
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
  const TensorView* gate_up = weights.checkpoint().FindTensor(module + ".gate_up_proj");
  const TensorView* down = weights.checkpoint().FindTensor(module + ".down_proj");
  OpenedExperts opened;
  if (gate_up == nullptr && down == nullptr) {
    for (std::int64_t e = 0; e < shape.experts; ++e) {
      opened.experts.push_back(OpenFeedForward(weights, fmt::format("{}.{}", module, e),
                                               shape.hidden, shape.intermediate, names));
    }
    opened.layout = "per-expert";
    return opened;
  }
  if (gate_up == nullptr || down == nullptr) {
    Fail("{}: '{}.{}' is there without '{}.{}': fused experts need both",
         weights.checkpoint().folder().string(), module,
         gate_up == nullptr ? "down_proj" : "gate_up_proj", module,
         gate_up == nullptr ? "gate_up_proj" : "down_proj");
  }
  if (weights.Has(fmt::format("{}.0.{}.weight", module, names.gate))) {
    Fail("{}: '{}' is stored twice, fused ('{}') and per expert ('{}.0.{}.weight')",
         weights.checkpoint().folder().string(), module, gate_up->name, module, names.gate);
  }
  opened.experts = OpenFused(*gate_up, *down, shape);
  opened.layout = "fused";
  return opened;
}

}  // namespace cacheready
