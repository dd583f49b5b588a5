// SPDX-License-Identifier: Apache-2.0
#include "synth/routed_blocks.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <tuple>

#include "base/error.h"

namespace cacheready {
namespace {

// What the families call a router's weight, below the routed part ...
constexpr std::string_view kGates[] = {"gate.weight", "gate.wg.weight", "router.weight",
                                       "router.layer.weight"};
// ... its biases and corrections, by the end of the name ...
constexpr std::string_view kBiases[] = {"gate.bias", "router.bias", "e_score_correction_bias",
                                        "expert_bias"};
// ... and fused experts that lie beside it, not below "experts.".
constexpr std::string_view kFused[] = {"input_linear.weight", "output_linear.weight"};

// The part of `name` before the name of its router, or "" if it is none.
std::string_view PrefixOfGate(std::string_view name) {
  for (const std::string_view gate : kGates) {
    if (!name.ends_with(gate)) continue;
    const std::string_view prefix = name.substr(0, name.size() - gate.size());
    if (prefix.ends_with('.')) return prefix;
  }
  return {};
}

// The number after the last ".layers.", or after a leading "layers.".
std::int64_t LayerNumber(std::string_view prefix) {
  constexpr std::string_view kLayers = "layers.";
  const std::size_t at = prefix.rfind(kLayers);
  std::int64_t number = -1;
  if (at != std::string_view::npos) {
    const char* begin = prefix.data() + at + kLayers.size();
    std::from_chars(begin, prefix.data() + prefix.size(), number);
  }
  return number;
}

bool IsNumber(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Sorts one tensor name under `prefix` into the block's lists.
void AddTensor(const Checkpoint& checkpoint, std::string_view name, RoutedBlock* block) {
  std::string_view rest = name.substr(block->prefix.size());
  constexpr std::string_view kExperts = "experts.";
  if (rest.starts_with(kExperts)) {
    rest.remove_prefix(kExperts.size());
    const std::size_t dot = rest.find('.');
    const std::string_view number = rest.substr(0, dot);
    if (dot != std::string_view::npos && IsNumber(number)) {
      if (number == "0") block->leaves.emplace_back(rest.substr(dot + 1));
    } else {
      block->fused.emplace_back(name);
    }
    return;
  }
  const auto is_one_of = [&](std::span<const std::string_view> ends) {
    return std::any_of(ends.begin(), ends.end(), [&](auto end) { return rest.ends_with(end); });
  };
  if (std::find(std::begin(kFused), std::end(kFused), rest) != std::end(kFused)) {
    block->fused.emplace_back(name);
  } else if (is_one_of(kBiases) && checkpoint.GetTensor(name).NumElements() == block->experts) {
    block->biases.emplace_back(name);
  }
}

void CheckExperts(const Checkpoint& checkpoint, const RoutedBlock& block) {
  for (const std::string& name : block.fused) {
    const TensorView& tensor = checkpoint.GetTensor(name);
    if (tensor.shape.empty() || tensor.shape[0] != block.experts) {
      Fail("{}: tensor '{}' has shape {}, expected {} experts as in '{}'", tensor.file, name,
           ShapeText(tensor.shape), block.experts, block.gate);
    }
  }
  for (std::int64_t e = 0; e < block.experts && block.fused.empty(); ++e) {
    for (const std::string& leaf : block.leaves) {
      checkpoint.GetTensor(fmt::format("{}experts.{}.{}", block.prefix, e, leaf));
    }
  }
}

}  // namespace

std::vector<RoutedBlock> RoutedBlocks(const Checkpoint& checkpoint) {
  const std::vector<std::string_view> names = checkpoint.TensorNames();
  std::vector<RoutedBlock> blocks;
  for (std::string_view name : names) {
    const TensorView& gate = checkpoint.GetTensor(name);
    RoutedBlock block;
    block.gate = name;
    block.prefix = PrefixOfGate(name);
    if (block.prefix.empty() || gate.shape.size() != 2) continue;
    block.layer = LayerNumber(block.prefix);
    block.mtp = name.starts_with("mtp.");
    block.experts = gate.shape[0];
    for (auto it = std::lower_bound(names.begin(), names.end(), block.prefix);
         it != names.end() && it->starts_with(block.prefix); ++it) {
      AddTensor(checkpoint, *it, &block);
    }
    if (block.fused.empty() && block.leaves.empty()) continue;  // a gate of something else
    CheckExperts(checkpoint, block);
    blocks.push_back(std::move(block));
  }
  if (blocks.empty()) {
    Fail("{}: no router ({}) with experts beside it", checkpoint.folder().string(),
         fmt::join(kGates, ", "));
  }
  std::sort(blocks.begin(), blocks.end(), [](const RoutedBlock& a, const RoutedBlock& b) {
    return std::tie(a.mtp, a.layer, a.prefix) < std::tie(b.mtp, b.layer, b.prefix);
  });
  return blocks;
}

}  // namespace cacheready
