// SPDX-License-Identifier: Apache-2.0
#include "model/decoder_model.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "compute/sequence_ops.h"
#include "model/weight_store.h"

namespace cacheready {
namespace {

constexpr std::size_t kRowsOfEmbedding = 1024;  // touched before their pages are given back

void Multiply(float factor, Matrix& x) {
  if (factor == 1) return;
  for (float& value : x.values()) value *= factor;
}

class OpenedLayer final : public Layer {
 public:
  OpenedLayer(DecoderLayer layer, float residual_multiplier)
      : layer_(std::move(layer)), residual_multiplier_(residual_multiplier) {
    CR_CHECK(layer_.moe.has_value() != layer_.dense.has_value(), "one feed-forward part a layer");
  }

  void AddMixer(const Arithmetic& arithmetic, DocumentBounds documents,
                Matrix& hidden) const override {
    const Matrix x = RunNorm(arithmetic, layer_.mixer_norm, hidden);
    AddResidual(arithmetic, layer_.mixer->Run(arithmetic, x, documents), hidden);
  }
  Matrix FfnInput(const Arithmetic& arithmetic, const Matrix& hidden) const override {
    return RunNorm(arithmetic, layer_.ffn_norm, hidden);
  }
  const MoeBlock* moe() const override { return layer_.moe ? &*layer_.moe : nullptr; }
  Matrix RunDense(const Arithmetic& arithmetic, const Matrix& x) const override {
    CR_CHECK(layer_.dense.has_value(), "RunDense of a routed layer");
    return RunFeedForward(arithmetic, Role::kDenseFfn, *layer_.dense, x);
  }
  void AddFfn(const Arithmetic& arithmetic, const Matrix& y, Matrix& hidden) const override {
    AddResidual(arithmetic, y, hidden);
  }

 private:
  void AddResidual(const Arithmetic& arithmetic, Matrix y, Matrix& hidden) const {
    if (residual_multiplier_ != 1) {
      Multiply(residual_multiplier_, y);
      Round(arithmetic, RoundingPoint::kResidual, y.values());
    }
    AddInto(hidden, y);
    Round(arithmetic, RoundingPoint::kResidual, hidden.values());
  }

  DecoderLayer layer_;
  float residual_multiplier_;
};

class DecoderModel final : public Model {
 public:
  DecoderModel(const Checkpoint& checkpoint, DecoderSpec spec)
      : weights_(checkpoint, WeightReader::Mode::kRead), spec_(std::move(spec)) {
    const ModelInfo& info = spec_.info;
    WeightUse embedding_use, head_use;
    const WeightReader head_reader = weights_.Recording(head_use);
    embedding_ = weights_.Recording(embedding_use).Open(spec_.embedding, info.vocab, info.hidden);
    const bool tied = spec_.head == spec_.embedding;
    if (!tied) head_ = head_reader.Open(spec_.head, info.vocab, info.hidden);
    spec_.info.quantization = QuantizationText(weights_.quantization());
    if (!spec_.head_bias.empty()) head_bias_ = weights_.Values(spec_.head_bias, {info.vocab});
    std::vector<PartRanges> parts = CheckLayers(checkpoint);
    parts.push_back((tied ? embedding_use : head_use).Ranges(checkpoint));
    store_ =
        std::make_unique<WeightStore>(std::move(parts), embedding_use.Ranges(checkpoint).common);
  }

  const ModelInfo& info() const override { return spec_.info; }

  Matrix Embed(const Arithmetic& arithmetic, std::span<const std::int32_t> ids) const override {
    Matrix hidden(static_cast<std::int64_t>(ids.size()), spec_.info.hidden);
    store_->EnterEmbedding(static_cast<std::int64_t>(ids.size()));
    for (std::size_t t = 0; t < ids.size(); ++t) {
      if (t % kRowsOfEmbedding == 0) store_->TrimEmbedding();
      if (ids[t] < 0 || ids[t] >= spec_.info.vocab) {
        Fail("token {} of the batch has id {}, and the model's vocabulary ends at {}", t, ids[t],
             spec_.info.vocab - 1);
      }
      embedding_->DecodeRows(ids[t], 1, hidden.row(static_cast<std::int64_t>(t)).data());
    }
    store_->LeaveEmbedding();
    Multiply(spec_.embedding_multiplier, hidden);
    Round(arithmetic, RoundingPoint::kEmbedding, hidden.values());
    return hidden;
  }

  std::unique_ptr<Layer> OpenLayer(std::int64_t layer) const override {
    CR_CHECK(layer >= 0 && layer < spec_.info.layers, "layer {} of {}", layer, spec_.info.layers);
    DecoderLayer opened = spec_.open_layer(weights_, layer);
    if (opened.moe) {
      opened.moe->store = store_.get();
      opened.moe->part = layer;
    }
    return std::make_unique<OpenedLayer>(std::move(opened), spec_.residual_multiplier);
  }

  WeightStore* store() const override { return store_.get(); }

  Matrix FinalNorm(const Arithmetic& arithmetic, const Matrix& hidden) const override {
    return RunNorm(arithmetic, OpenFinalNorm(weights_), hidden);
  }

  Matrix Logits(const Arithmetic& arithmetic, const Matrix& x) const override {
    Matrix logits = Linear(arithmetic, Role::kHead, head_ ? *head_ : *embedding_, x, head_bias_);
    if (spec_.logits_divisor != 1) {
      for (float& value : logits.values()) value /= spec_.logits_divisor;
      Round(arithmetic, RoundingPoint::kLogits, logits.values());
    }
    return logits;
  }

 private:
  Norm OpenFinalNorm(const WeightReader& weights) const {
    if (spec_.norm_kind == NormKind::kLayer) {
      return OpenLayerNorm(weights, spec_.final_norm, spec_.info.hidden, spec_.norm_eps);
    }
    return OpenNorm(weights, spec_.final_norm, spec_.info.hidden, spec_.norm_eps,
                    spec_.norm_offset);
  }

  // Returns what each layer reads.
  std::vector<PartRanges> CheckLayers(const Checkpoint& checkpoint) {
    const WeightReader headers(checkpoint, WeightReader::Mode::kCheck);
    OpenFinalNorm(headers);
    struct Routed {
      RouterTensors tensors;
      std::string format, layout;
      std::int64_t width = 0;
    };
    ModelInfo& info = spec_.info;
    std::vector<std::optional<Routed>> routed(static_cast<std::size_t>(info.layers));
    std::vector<PartRanges> parts(routed.size());
    std::vector<std::int64_t> columns(routed.size());
    ParallelFor(info.layers, [&](std::int64_t layer_index) {
      const auto n = static_cast<std::size_t>(layer_index);
      WeightUse use;
      const DecoderLayer layer = spec_.open_layer(headers.Recording(use), layer_index);
      parts[n] = use.Ranges(checkpoint);
      columns[n] = use.outputs();
      if (!layer.moe) return;
      const EncodedMatrix& gate = *layer.moe->experts.front().gate;
      routed[n] = {layer.moe->tensors, std::string(gate.format()), layer.expert_layout,
                   gate.rows()};
    });
    info.token_columns = *std::max_element(columns.begin(), columns.end());
    for (std::int64_t n = 0; n < info.layers; ++n) {
      const std::optional<Routed>& layer = routed[static_cast<std::size_t>(n)];
      if (!layer) continue;
      if (info.moe_layers.empty()) {
        info.expert_format = layer->format;
        info.expert_layout = layer->layout;
        info.expert_width = layer->width;
      }
      info.moe_layers.push_back({.layer = n, .tensors = layer->tensors});
    }
    if (info.moe_layers.empty()) {
      Fail("{}: no layer of this model routes tokens to experts", checkpoint.folder().string());
    }
    return parts;
  }

  WeightReader weights_;
  DecoderSpec spec_;
  std::unique_ptr<WeightStore> store_;
  EncodedMatrixPtr embedding_;
  EncodedMatrixPtr head_;         // null: tied to the embedding
  std::vector<float> head_bias_;  // [vocab] or empty
};

}  // namespace

std::unique_ptr<Model> MakeDecoderModel(const Checkpoint& checkpoint, DecoderSpec spec) {
  return std::make_unique<DecoderModel>(checkpoint, std::move(spec));
}

}  // namespace cacheready
