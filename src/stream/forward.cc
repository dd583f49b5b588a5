// SPDX-License-Identifier: Apache-2.0
#include "stream/forward.h"

#include <algorithm>
#include <string>

#include "base/console.h"
#include "base/error.h"
#include "checkpoint/safetensors_header.h"
#include "stream/layer_progress.h"
#include "stream/stream.h"

namespace cacheready {
namespace {

template <typename T>
NamedTensor Describe(std::string name, Dtype dtype, std::vector<std::int64_t> shape,
                     std::span<const T> values) {
  return {std::move(name), dtype, std::move(shape), std::as_bytes(values)};
}

NamedTensor Describe(std::string name, const Matrix& matrix) {
  return Describe(std::move(name), Dtype::kF32, {matrix.rows(), matrix.cols()}, matrix.values());
}

}  // namespace

ForwardOutputs RunForward(const Model& model, const TokenBatch& batch, const Arithmetic& arithmetic,
                          const ForcedIds* forced_ids) {
  const Variant variant{.name = std::string(arithmetic.profile->name),
                        .arithmetic = arithmetic,
                        .forced_ids = forced_ids};
  const std::span<const Variant> variants(&variant, 1);
  ForwardOutputs outputs;
  StreamState state = BeginStream(model, batch, variants);
  const LayerObserver keep = [&](std::int64_t index, const Layer& layer,
                                 std::span<const LayerActivations> activations) {
    const MoeBlock* moe = layer.moe();
    if (moe == nullptr) return;
    outputs.routers[index] = {moe->router, activations[0].logits, activations[0].routing};
  };
  LayerProgress progress("layers", model);
  while (state.next_layer < model.info().layers) {
    ThrowIfInterrupted();
    progress.Update(state.next_layer);
    outputs.hidden_states.push_back(state.hidden[0]);
    AdvanceLayer(model, batch, variants, keep, state);
  }
  outputs.hidden_states.push_back(model.FinalNorm(arithmetic, state.hidden[0]));
  outputs.logits = Matrix(batch.tokens(), model.info().vocab);
  RunHead(model, variants, state, [&](std::int64_t first, std::span<const Matrix> logits) {
    const std::span<const float> values = logits[0].values();
    std::copy(values.begin(), values.end(),
              outputs.logits.values().begin() + first * model.info().vocab);
  });
  return outputs;
}

std::vector<std::byte> SerializeForward(const ForwardOutputs& outputs) {
  std::vector<NamedTensor> tensors;
  for (std::size_t n = 0; n < outputs.hidden_states.size(); ++n) {
    tensors.push_back(Describe(fmt::format("hidden_states.{}", n), outputs.hidden_states[n]));
  }
  for (const auto& [layer, router] : outputs.routers) {
    const std::string name = fmt::format("layers.{}.router.", layer);
    const Routing& routing = router.routing;
    const std::vector<std::int64_t> selected{routing.tokens(), routing.top_k};
    tensors.push_back(Describe(name + "logits", router.logits));
    tensors.push_back(
        Describe<float>(name + "weights", Dtype::kF32, selected, std::span(routing.weights)));
    tensors.push_back(
        Describe<std::int32_t>(name + "ids", Dtype::kI32, selected, std::span(routing.ids)));
    tensors.push_back(Describe<float>(name + "selection_margin", Dtype::kF32, {routing.tokens()},
                                      std::span(routing.margin)));
  }
  tensors.push_back(Describe("logits", outputs.logits));
  return SerializeSafetensors(tensors);
}

}  // namespace cacheready
