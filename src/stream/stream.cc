// Every layer of the checkpoint is opened once and all variants of a run pass through it before it
// is dropped: so the bytes read do not grow with the number of variants, and what the variants did
// can be compared while the layer's experts are at hand. Variants never see each other: each is
// computed as if it ran alone.
// SPDX-License-Identifier: Apache-2.0
#include "stream/stream.h"

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <utility>

#include "base/console.h"
#include "base/error.h"
#include "base/phases.h"
#include "compute/sequence_ops.h"
#include "model/weight_store.h"
#include "stream/layer_progress.h"

namespace cacheready {
namespace {

constexpr std::int64_t kHeadTokens = 256;

void RequireFiniteIn(const Matrix& values, std::int64_t layer, const Variant& variant,
                     std::string_view tensor) {
  RequireFinite(values, fmt::format("layer {}, run '{}', {}", layer, variant.name, tensor).c_str());
}

const RouterOverride* FindOverride(const Variant& variant, std::int64_t layer) {
  if (variant.overrides == nullptr) return nullptr;
  const auto found = variant.overrides->find(layer);
  return found == variant.overrides->end() ? nullptr : &found->second;
}

// Logits and routing of one variant; an override replaces the stored rows and biases, and forced
// ids the selection.
void RouteTokens(const MoeBlock& moe, std::int64_t layer, const Variant& variant,
                 LayerActivations& activations) {
  RouterSpec spec = moe.router;
  const RouterOverride* replaced = FindOverride(variant, layer);
  if (replaced != nullptr) {
    if (!replaced->logit_bias.empty()) spec.logit_bias = replaced->logit_bias;
    if (!replaced->selection_bias.empty()) spec.selection_bias = replaced->selection_bias;
  }
  const bool own_weight = replaced == nullptr || replaced->weight == nullptr;
  activations.logits =
      Linear(variant.arithmetic, moe.router_role,
             own_weight ? *moe.router_weight : *replaced->weight, activations.x, spec.logit_bias);
  RequireFiniteIn(activations.logits, layer, variant, "router logits");
  activations.routing = Route(spec, activations.logits, variant.arithmetic);

  if (variant.forced_ids == nullptr) return;
  const auto forced = variant.forced_ids->find(layer);
  if (forced == variant.forced_ids->end()) return;
  if (forced->second.size() != activations.routing.ids.size()) {
    Fail("layer {}: {} expert ids are given for {} tokens that select {} experts each", layer,
         forced->second.size(), activations.x.rows(), spec.top_k);
  }
  for (const std::int32_t id : forced->second) {
    if (id < 0 || id >= spec.experts) {
      Fail("layer {}: expert id {} is given, and the layer has {} experts", layer, id,
           spec.experts);
    }
  }
  activations.routing.ids = forced->second;
  activations.routing.weights =
      WeightsOfSelection(spec, activations.logits, forced->second, variant.arithmetic);
}

LayerActivations RunVariant(const Layer& layer, std::int64_t index, const Variant& variant,
                            DocumentBounds documents, Matrix& hidden) {
  {
    const Phase phase("mixers");
    layer.AddMixer(variant.arithmetic, documents, hidden);
  }
  const Phase phase("feed-forward");
  RequireFiniteIn(hidden, index, variant, "hidden state after the mixer");
  LayerActivations activations;
  activations.x = layer.FfnInput(variant.arithmetic, hidden);
  RequireFiniteIn(activations.x, index, variant, "feed-forward input");
  if (const MoeBlock* moe = layer.moe()) {
    RouteTokens(*moe, index, variant, activations);
    activations.y = RunMoe(variant.arithmetic, *moe, activations.x, activations.routing);
  } else {
    activations.y = layer.RunDense(variant.arithmetic, activations.x);
  }
  RequireFiniteIn(activations.y, index, variant, "feed-forward output");
  return activations;
}

const Model& ModelOf(const Variant& variant, const Model& model) {
  return variant.model != nullptr ? *variant.model : model;
}

// One layer of every model that the variants run, each opened once, its weights held meanwhile.
class OpenedLayers {
 public:
  OpenedLayers(const Model& model, std::int64_t layer) : model_(model), layer_(layer) {}
  const Layer& Of(const Model& model) {
    std::unique_ptr<Opened>& opened = layers_[&model];
    if (!opened) {
      const Phase phase("waiting for weights");
      opened = std::make_unique<Opened>(model, layer_);
    }
    return *opened->layer;
  }
  const Layer& Of(const Variant& variant) { return Of(ModelOf(variant, model_)); }

 private:
  struct Opened {
    Opened(const Model& model, std::int64_t index)
        : weights(model.store(), index), layer(model.OpenLayer(index)) {}
    HeldPart weights;
    std::unique_ptr<Layer> layer;
  };

  const Model& model_;
  std::int64_t layer_;
  std::map<const Model*, std::unique_ptr<Opened>> layers_;
};

// The head of every model that the variants run, and how many bytes of logits all may hold at once.
struct HeldHeads {
  HeldHeads(const Model& model, std::span<const Variant> variants) {
    for (const Variant& variant : variants) {
      const Model& own = ModelOf(variant, model);
      std::unique_ptr<HeldPart>& held = heads[&own];
      if (held) continue;
      held = std::make_unique<HeldPart>(own.store(), own.info().layers);
      logit_bytes = static_cast<std::int64_t>(PlanOf(own.store()).logit_bytes);
    }
  }
  std::map<const Model*, std::unique_ptr<HeldPart>> heads;
  std::int64_t logit_bytes = 0;
};

Matrix RowBlock(const Matrix& source, std::int64_t begin, std::int64_t count) {
  std::vector<std::int32_t> rows(static_cast<std::size_t>(count));
  std::iota(rows.begin(), rows.end(), static_cast<std::int32_t>(begin));
  return GatherRows(source, rows);
}

}  // namespace

StreamState BeginStream(const Model& model, const TokenBatch& batch,
                        std::span<const Variant> variants) {
  CR_CHECK(!batch.bounds.empty() && batch.bounds.front() == 0 &&
               batch.bounds.back() == batch.tokens() &&
               std::is_sorted(batch.bounds.begin(), batch.bounds.end()),
           "document bounds do not cover the batch");
  StreamState state;
  for (const Variant& variant : variants) {
    state.hidden.push_back(ModelOf(variant, model).Embed(variant.arithmetic, batch.ids));
    if (!state.hidden.back().empty()) {
      RequireFinite(state.hidden.back(), fmt::format("embedding, run '{}'", variant.name).c_str());
    }
  }
  return state;
}

void AdvanceLayer(const Model& model, const TokenBatch& batch, std::span<const Variant> variants,
                  const LayerObserver& observe, StreamState& state) {
  CR_CHECK(state.hidden.size() == variants.size(), "{} states for {} variants", state.hidden.size(),
           variants.size());
  OpenedLayers layers(model, state.next_layer);
  const Phase phase("layers");
  std::vector<LayerActivations> activations;
  for (std::size_t v = 0; v < variants.size(); ++v) {
    activations.push_back(RunVariant(layers.Of(variants[v]), state.next_layer, variants[v],
                                     batch.bounds, state.hidden[v]));
  }
  if (observe) observe(state.next_layer, layers.Of(model), activations);
  for (std::size_t v = 0; v < variants.size(); ++v) {
    layers.Of(variants[v]).AddFfn(variants[v].arithmetic, activations[v].y, state.hidden[v]);
  }
  ++state.next_layer;
}

void RunLayers(const Model& model, const TokenBatch& batch, std::span<const Variant> variants,
               const LayerObserver& observe, StreamState& state) {
  LayerProgress progress("layers", model);
  while (state.next_layer < model.info().layers) {
    ThrowIfInterrupted();
    progress.Update(state.next_layer);
    AdvanceLayer(model, batch, variants, observe, state);
  }
}

void RunHead(const Model& model, std::span<const Variant> variants, const StreamState& state,
             const HeadObserver& observe) {
  CR_CHECK(state.next_layer == model.info().layers, "the head before the last layer");
  if (variants.empty()) return;
  const std::int64_t bytes_per_token = model.info().vocab *
                                       static_cast<std::int64_t>(sizeof(float)) *
                                       static_cast<std::int64_t>(variants.size());
  const Phase phase("head");
  const HeldHeads heads(model, variants);
  const std::int64_t block =
      std::clamp<std::int64_t>(heads.logit_bytes / bytes_per_token, 1, kHeadTokens);
  const std::int64_t tokens = state.hidden.front().rows();
  Progress progress("head", tokens);
  for (std::int64_t begin = 0; begin < tokens; begin += block) {
    ThrowIfInterrupted();
    progress.Update(begin);
    const std::int64_t count = std::min(block, tokens - begin);
    std::vector<Matrix> logits;
    for (std::size_t v = 0; v < variants.size(); ++v) {
      const Arithmetic& arithmetic = variants[v].arithmetic;
      const Model& own = ModelOf(variants[v], model);
      const Matrix x = own.FinalNorm(arithmetic, RowBlock(state.hidden[v], begin, count));
      logits.push_back(own.Logits(arithmetic, x));
      RequireFinite(logits.back(), fmt::format("head, run '{}', logits of tokens from {} on",
                                               variants[v].name, begin)
                                       .c_str());
    }
    observe(begin, logits);
  }
}

}  // namespace cacheready
