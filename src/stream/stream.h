// The layer loop: every layer of the checkpoint is opened once, all variants of a run pass through
// it side by side.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "arithmetic/profile.h"
#include "model/model.h"

namespace cacheready {

// Router rows that replace the stored ones in one layer (a plan applied in memory, before anything
// is written).
struct RouterOverride {
  EncodedMatrixPtr weight;            // whole gate, [experts, hidden]
  std::vector<float> logit_bias;      // empty: as stored
  std::vector<float> selection_bias;  // empty: as stored
};
using RouterOverrides = std::map<std::int64_t, RouterOverride>;  // by layer

// One way of running the same tokens.
struct Variant {
  std::string name;
  Arithmetic arithmetic;
  const RouterOverrides* overrides = nullptr;  // may be null
  const std::map<std::int64_t, std::vector<std::int32_t>>* forced_ids =
      nullptr;  // by layer: selections given from outside
  // Another checkpoint of the same shape, run side by side with the first; null: the model that the
  // run is given.
  const Model* model = nullptr;
};

// What one variant did in one layer.
struct LayerActivations {
  Matrix x;       // FFN input [tokens, hidden]
  Matrix logits;  // router logits [tokens, experts]; empty in dense layers
  Routing routing;
  Matrix y;  // FFN output [tokens, hidden]
};

struct StreamState {
  std::int64_t next_layer = 0;
  std::vector<Matrix> hidden;  // one a variant: input of next_layer
};

StreamState BeginStream(const Model& model, const TokenBatch& batch,
                        std::span<const Variant> variants);

// Runs one layer for all variants, calls `observe` (may be empty) with the layer of `model` while
// it is open, then adds y to hidden. NaN or infinity is an error that names layer, variant and
// tensor.
using LayerObserver = std::function<void(std::int64_t layer_index, const Layer& layer,
                                         std::span<const LayerActivations> variants)>;
void AdvanceLayer(const Model& model, const TokenBatch& batch, std::span<const Variant> variants,
                  const LayerObserver& observe, StreamState& state);

// All layers from state.next_layer on, with progress; stops at a layer with Interrupted.
void RunLayers(const Model& model, const TokenBatch& batch, std::span<const Variant> variants,
               const LayerObserver& observe, StreamState& state);

// Logits in blocks of tokens: calls `observe(first_token, logits)` with one Matrix [count, vocab] a
// variant.
using HeadObserver = std::function<void(std::int64_t first_token, std::span<const Matrix> logits)>;
void RunHead(const Model& model, std::span<const Variant> variants, const StreamState& state,
             const HeadObserver& observe);

}  // namespace cacheready
