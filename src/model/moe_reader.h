// Opening the routed part of a layer by the names that a family gives its tensors.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config_reader.h"
#include "model/experts.h"
#include "model/model.h"
#include "model/router.h"
#include "model/weight_reader.h"

namespace cacheready {

// Names are relative to the module of the routed part; "" = the family has none (of `expert_list`:
// the module itself).
struct MoeSpec {
  RouterSpec router;  // the biases come from the checkpoint
  Role router_role = Role::kRouter;
  ExpertShape experts;
  std::int64_t shared_width = 0;  // 0: no shared expert
  bool shared_bias = false;
  std::string gate = "gate";        // module of the router
  std::string logit_bias = {};      // tensor, [experts]
  std::string selection_bias = {};  // tensor, [experts] or [1, experts]
  std::string expert_list = "experts";
  std::string shared = "shared_experts";
  std::string shared_gate = {};  // module of the gate of the shared expert
  ProjectionNames projections = {};
};

struct OpenedMoe {
  MoeBlock block;
  std::string layout;  // of the experts: "per-expert" or "fused"
};
OpenedMoe OpenMoe(const WeightReader& weights, const std::string& module, const MoeSpec& spec);

// The routers of multi-token-prediction blocks that are stored as layers `first`, `first` + 1, ...
// below `prefix` ("model."), their routed part named `module` ("mlp"). Checked as the others are.
std::vector<MoeLayerInfo> FindMtpLayers(const Checkpoint& checkpoint, const std::string& prefix,
                                        std::int64_t first, const std::string& module,
                                        const MoeSpec& spec);

// n_group and topk_group (absent or null: no groups). Fails unless the groups divide the experts
// and the kept ones hold `top_k` of them.
void ReadRoutingGroups(const ConfigReader& config, RouterSpec& router);

// The router of DeepSeek-V3 and its likes: sigmoid, e_score_correction_bias for the choice,
// norm_topk_prob, routed_scaling_factor, n_group and topk_group, num_experts_per_tok.
RouterSpec ReadCorrectedSigmoidRouter(const ConfigReader& config, std::int64_t experts);
// With its experts: n_routed_experts, moe_intermediate_size, and n_shared_experts that are stored
// as one, that many times as wide.
MoeSpec ReadCorrectedSigmoidMoe(const ConfigReader& config, std::int64_t hidden);

}  // namespace cacheready
