// Where a checkpoint keeps its routers and experts, found by tensor names alone (synthetic
// checkpoints must not depend on the family code that they are made to test).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace cacheready {

struct RoutedBlock {
  std::int64_t layer = 0;           // the number in its name
  bool mtp = false;                 // a multi-token-prediction block ("mtp." names)
  std::string prefix;               // "model.language_model.layers.3.mlp."
  std::string gate;                 // the router's weight under prefix, [experts, hidden]
  std::vector<std::string> biases;  // tensors of one entry an expert beside the gate
  std::vector<std::string> fused;   // tensors [experts, ...] of all experts, or empty: then each
                                    // expert e has prefix + "experts.<e>.<leaf>"
  std::vector<std::string> leaves;  // "down_proj.weight", "down_proj.weight_scale_inv", ...
  std::int64_t experts = 0;
};

// All blocks with a gate of their own: main layers in ascending order, then MTP blocks. Fails if
// there is none, or if experts of a gate are missing.
std::vector<RoutedBlock> RoutedBlocks(const Checkpoint& checkpoint);

// The part of `bytes` that belongs to entry `index` of `count` equal ones.
template <typename Byte>
std::span<Byte> EntryOf(std::span<Byte> bytes, std::int64_t count, std::int64_t index) {
  const std::size_t size = bytes.size() / static_cast<std::size_t>(count);
  return bytes.subspan(static_cast<std::size_t>(index) * size, size);
}

}  // namespace cacheready
