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
  const std::int64_t experts = shape.experts, hidden = shape.hidden;
  const std::int64_t intermediate = shape.intermediate;
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

// Which rows of expert `e` in gate_up_proj are the gate's, or the up projection's.
PlainSlice GateUpSlice(const ExpertShape& shape, std::int64_t e, bool up) {
  PlainSlice slice{.index = e, .rows = shape.intermediate};
  slice.row_stride = shape.interleaved ? 2 : 1;
  if (up) slice.row_begin = shape.interleaved ? 1 : shape.intermediate;
  return slice;
}

std::vector<FeedForward> OpenFused(const WeightReader& weights, const Fused& gate_up,
                                   const Fused& down, const ExpertShape& shape) {
  const bool transposed = IsTransposed(weights, gate_up, down, shape);
  std::vector<FeedForward> experts;
  for (std::int64_t e = 0; e < shape.experts; ++e) {
    PlainSlice gate = GateUpSlice(shape, e, false), up = GateUpSlice(shape, e, true);
    gate.transposed = up.transposed = transposed;
    const ExpertScope scope(weights, e);
    FeedForward expert;
    expert.gate = weights.OpenSlice(gate_up.tensor, gate);
    expert.up = weights.OpenSlice(gate_up.tensor, up);
    expert.down = weights.OpenSlice(down.tensor, {.index = e, .transposed = transposed});
    experts.push_back(std::move(expert));
  }
  return experts;
}

// `module`.gate_up_proj_bias [experts, 2 I], laid out as the rows of the weights are, and
// `module`.down_proj_bias [experts, H].
void OpenFusedBiases(const WeightReader& weights, const std::string& module,
                     const ExpertShape& shape, std::vector<FeedForward>& experts) {
  const std::int64_t width = shape.intermediate;
  const std::vector<float> gate_up =
      weights.Values(module + ".gate_up_proj_bias", {shape.experts, 2 * width});
  const std::vector<float> down =
      weights.Values(module + ".down_proj_bias", {shape.experts, shape.hidden});
  for (std::int64_t e = 0; e < shape.experts; ++e) {
    const auto pick = [&](bool up) {
      const PlainSlice slice = GateUpSlice(shape, e, up);
      std::vector<float> bias;
      for (std::int64_t n = 0; n < width; ++n) {
        const std::int64_t row = slice.row_begin + n * slice.row_stride;
        bias.push_back(gate_up[static_cast<std::size_t>(e * 2 * width + row)]);
      }
      return bias;
    };
    FeedForward& expert = experts[static_cast<std::size_t>(e)];
    expert.gate_bias = pick(false);
    expert.up_bias = pick(true);
    const auto first = down.begin() + e * shape.hidden;
    expert.down_bias.assign(first, first + shape.hidden);
  }
}

std::vector<FeedForward> OpenEach(const WeightReader& weights, const std::string& module,
                                  const ExpertShape& shape, const ProjectionNames& names) {
  std::vector<FeedForward> experts;
  for (std::int64_t e = 0; e < shape.experts; ++e) {
    const ExpertScope scope(weights, e);
    const std::string expert = fmt::format("{}.{}", module, e);
    experts.push_back(OpenFeedForward(weights, expert, shape.hidden, shape.intermediate, names));
    if (shape.bias) OpenBiases(weights, expert, names, experts.back());
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

void OpenBiases(const WeightReader& weights, const std::string& module,
                const ProjectionNames& names, FeedForward& ffn) {
  ffn.gate_bias = weights.Values(module + "." + names.gate + ".bias", {ffn.gate->rows()});
  ffn.up_bias = weights.Values(module + "." + names.up + ".bias", {ffn.up->rows()});
  ffn.down_bias = weights.Values(module + "." + names.down + ".bias", {ffn.down->rows()});
}

OpenedExperts OpenExperts(const WeightReader& weights, const std::string& module,
                          const ExpertShape& shape, const ProjectionNames& names) {
  Fused gate_up{module + "." + names.fused_gate_up, {}}, down{module + "." + names.fused_down, {}};
  for (Fused* fused : {&gate_up, &down}) fused->shape = weights.FindFusedShape(fused->tensor);
  const bool has_gate_up = !gate_up.shape.empty(), has_down = !down.shape.empty();
  OpenedExperts opened;
  if (!has_gate_up && !has_down) {
    opened = {OpenEach(weights, module, shape, names), "per-expert"};
  } else if (!has_gate_up || !has_down) {
    Fail("{}: '{}' is there without '{}': fused experts need both",
         weights.checkpoint().folder().string(), (has_down ? down : gate_up).tensor,
         (has_down ? gate_up : down).tensor);
  } else if (weights.Has(fmt::format("{}.0.{}.weight", module, names.gate))) {
    Fail("{}: '{}' is stored twice, fused ('{}') and per expert ('{}.0.{}.weight')",
         weights.checkpoint().folder().string(), module, gate_up.tensor, module, names.gate);
  } else {
    opened = {OpenFused(weights, gate_up, down, shape), "fused"};
    if (shape.bias) OpenFusedBiases(weights, module, shape, opened.experts);
  }
  for (FeedForward& expert : opened.experts) expert.activation = shape.activation;
  return opened;
}

}  // namespace cacheready
