// One forward pass with everything it computed on the way kept: what `forward` writes and what
// goldens are compared with.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "arithmetic/profile.h"
#include "model/model.h"
#include "tensor/matrix.h"

namespace cacheready {

// Expert ids given from outside, by layer: [tokens * top_k].
using ForcedIds = std::map<std::int64_t, std::vector<std::int32_t>>;

struct RoutedLayer {
  RouterSpec spec;
  Matrix logits;  // [tokens, experts]
  Routing routing;
};

struct ForwardOutputs {
  // [0] embeddings, [n] the input of layer n, the last one after the final norm: as transformers
  // numbers them.
  std::vector<Matrix> hidden_states;
  std::map<std::int64_t, RoutedLayer> routers;  // by layer; dense layers are absent
  Matrix logits;                                // [tokens, vocab]
};

// `forced_ids` may be null.
ForwardOutputs RunForward(const Model& model, const TokenBatch& batch, const Arithmetic& arithmetic,
                          const ForcedIds* forced_ids = nullptr);

// A safetensors file with hidden_states.N, layers.N.router.{logits,weights,ids,selection_margin}
// and logits (docs/formats/forward.md).
std::vector<std::byte> SerializeForward(const ForwardOutputs& outputs);

}  // namespace cacheready
