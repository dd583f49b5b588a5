// Opening the routed experts of a layer, per expert or fused, whatever the file holds.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/config_reader.h"
#include "model/model.h"
#include "model/weight_reader.h"

namespace cacheready {

// How a family names the three projections of one expert, and the two tensors of all experts fused.
struct ProjectionNames {
  std::string gate = "gate_proj";
  std::string up = "up_proj";
  std::string down = "down_proj";
  std::string fused_gate_up = "gate_up_proj";
  std::string fused_down = "down_proj";
};

struct ExpertShape {
  std::int64_t experts = 0, hidden = 0, intermediate = 0;
  Activation activation = Activation::kSwiglu;
  bool bias = false;
  // Rows 2 n of the fused gate_up_proj are the gate's, rows 2 n + 1 the up projection's; else the
  // gate's come first.
  bool interleaved = false;
};

// The number of experts a token is sent to. Fails unless it is at most `experts`.
std::int64_t ReadTopK(const ConfigReader& config, std::string_view key, std::int64_t experts);

struct OpenedExperts {
  std::vector<FeedForward> experts;
  std::string layout;  // "per-expert" or "fused"
};

FeedForward OpenFeedForward(const WeightReader& weights, const std::string& module,
                            std::int64_t hidden, std::int64_t intermediate,
                            const ProjectionNames& names = {});

// Adds `module`.{gate,up,down}_proj.bias to opened matrices.
void OpenBiases(const WeightReader& weights, const std::string& module,
                const ProjectionNames& names, FeedForward& ffn);

// Either `module`.E.{gate,up,down}_proj or the fused weights `module`.gate_up_proj and
// `module`.down_proj (or as `names` calls them), in any format, their biases [experts, out] with
// `_bias` behind the name. Plain fused weights are stored [experts, out, in] or, both of them,
// [experts, in, out]: told apart by their dims, which never fit both ways. Fails if both layouts or
// neither are there, naming the tensors.
OpenedExperts OpenExperts(const WeightReader& weights, const std::string& module,
                          const ExpertShape& shape, const ProjectionNames& names = {});

}  // namespace cacheready
