// SPDX-License-Identifier: Apache-2.0
#include "model/moe_reader.h"

#include <utility>

#include "base/error.h"

namespace cacheready {
namespace {

std::string Below(const std::string& module, const std::string& name) {
  return name.empty() ? "" : module + "." + name;
}

RouterTensors NameRouter(const std::string& module, const MoeSpec& spec) {
  return {.weight = Below(module, spec.gate) + ".weight",
          .logit_bias = Below(module, spec.logit_bias),
          .selection_bias = Below(module, spec.selection_bias)};
}

std::vector<float> ReadSelectionBias(const WeightReader& weights, const std::string& tensor,
                                     std::int64_t experts) {
  const TensorView* stored = weights.checkpoint().FindTensor(tensor);
  if (stored != nullptr && stored->shape == std::vector<std::int64_t>{1, experts}) {
    return weights.Values(tensor, {1, experts});
  }
  return weights.Values(tensor, {experts});
}

void OpenRouter(const WeightReader& weights, const std::string& module, const MoeSpec& spec,
                MoeBlock& block) {
  const std::int64_t experts = spec.experts.experts;
  block.router = spec.router;
  block.router_role = spec.router_role;
  block.tensors = NameRouter(module, spec);
  block.router_weight = weights.OpenRouter(Below(module, spec.gate), experts, spec.experts.hidden);
  if (!spec.logit_bias.empty()) {
    block.router.logit_bias = weights.Values(block.tensors.logit_bias, {experts});
  }
  if (!spec.selection_bias.empty()) {
    block.router.selection_bias = ReadSelectionBias(weights, block.tensors.selection_bias, experts);
  }
}

void OpenShared(const WeightReader& weights, const std::string& module, const MoeSpec& spec,
                MoeBlock& block) {
  const std::int64_t hidden = spec.experts.hidden;
  block.shared = OpenFeedForward(weights, module + "." + spec.shared, hidden, spec.shared_width,
                                 spec.projections);
  if (spec.shared_bias) {
    OpenBiases(weights, module + "." + spec.shared, spec.projections, *block.shared);
  }
  if (!spec.shared_gate.empty()) {
    block.shared_gate = weights.Open(module + "." + spec.shared_gate, 1, hidden);
  }
}

}  // namespace

OpenedMoe OpenMoe(const WeightReader& weights, const std::string& module, const MoeSpec& spec) {
  OpenedMoe opened;
  OpenRouter(weights, module, spec, opened.block);
  OpenedExperts experts =
      OpenExperts(weights, spec.expert_list.empty() ? module : Below(module, spec.expert_list),
                  spec.experts, spec.projections);
  opened.block.experts = std::move(experts.experts);
  opened.layout = std::move(experts.layout);
  if (spec.shared_width > 0) {
    OpenShared(weights, module, spec, opened.block);
  } else if (weights.Has(
                 fmt::format("{}.{}.{}.weight", module, spec.shared, spec.projections.down))) {
    Fail("{}: '{}.{}' is stored, and config.json tells of no shared expert",
         weights.checkpoint().folder().string(), module, spec.shared);
  }
  return opened;
}

std::vector<MoeLayerInfo> FindMtpLayers(const Checkpoint& checkpoint, const std::string& prefix,
                                        std::int64_t first, const std::string& module,
                                        const MoeSpec& spec) {
  const WeightReader weights(checkpoint, WeightReader::Mode::kCheck);
  std::vector<MoeLayerInfo> routers;
  for (std::int64_t layer = first;; ++layer) {
    const std::string moe = fmt::format("{}layers.{}.{}", prefix, layer, module);
    if (!weights.Has(NameRouter(moe, spec).weight)) return routers;
    MoeBlock block;
    OpenRouter(weights, moe, spec, block);
    routers.push_back({.layer = -1, .tensors = block.tensors});
  }
}

void ReadRoutingGroups(const ConfigReader& config, RouterSpec& router) {
  router.num_groups = config.Size("n_group", 1);
  router.top_groups = config.Size("topk_group", 1);
  if (router.experts % router.num_groups != 0 || router.top_groups > router.num_groups) {
    Fail("{}: key 'n_group' is {} and 'topk_group' {}, which splits {} experts into no groups",
         config.what(), router.num_groups, router.top_groups, router.experts);
  }
  if (router.experts / router.num_groups * router.top_groups < router.top_k) {
    Fail(
        "{}: key 'topk_group' is {}: that many groups of {} experts hold fewer than the {} that a "
        "token is sent to",
        config.what(), router.top_groups, router.experts / router.num_groups, router.top_k);
  }
}

RouterSpec ReadCorrectedSigmoidRouter(const ConfigReader& config, std::int64_t experts) {
  config.RequireText("scoring_func", "sigmoid");
  config.RequireText("topk_method", "noaux_tc");
  RouterSpec router{.experts = experts,
                    .top_k = ReadTopK(config, "num_experts_per_tok", experts),
                    .scoring = Scoring::kSigmoid,
                    .renormalize = config.Flag("norm_topk_prob", true),
                    .renormalize_epsilon = 1e-20,
                    .scaling = config.Number("routed_scaling_factor", 1.0)};
  ReadRoutingGroups(config, router);
  return router;
}

MoeSpec ReadCorrectedSigmoidMoe(const ConfigReader& config, std::int64_t hidden) {
  MoeSpec moe;
  moe.experts = {.experts = config.Size("n_routed_experts"),
                 .hidden = hidden,
                 .intermediate = config.Size("moe_intermediate_size")};
  moe.router = ReadCorrectedSigmoidRouter(config, moe.experts.experts);
  moe.router_role = Role::kFp32Router;
  moe.selection_bias = "gate.e_score_correction_bias";
  moe.shared_width = config.Count("n_shared_experts", 0) * moe.experts.intermediate;
  return moe;
}

}  // namespace cacheready
