// SPDX-License-Identifier: Apache-2.0
#include "measure/overrides.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "tensor/tensor_view.h"

namespace cacheready {
namespace {

std::string PlaceOf(const PlannedGroup& group, const PlannedTensor& tensor) {
  return fmt::format("plan, layer {}, tensor '{}'", group.layer, tensor.tensor);
}

std::unique_ptr<Layer> OpenRoutedLayer(const Model& model, std::int64_t index) {
  if (index < 0 || index >= model.info().layers) {
    Fail("plan: names a router of layer {}, the model has layers 0 to {}", index,
         model.info().layers - 1);
  }
  std::unique_ptr<Layer> layer = model.OpenLayer(index);
  if (layer->moe() == nullptr) Fail("plan: names a router of layer {}, which has none", index);
  return layer;
}

// A row of the plan as floats; `count` numbers are expected.
std::vector<float> DecodeRow(const PlannedGroup& group, const PlannedTensor& tensor,
                             std::int64_t count) {
  const auto expected = static_cast<std::size_t>(count * DtypeBits(tensor.dtype) / 8);
  if (tensor.row.size() != expected) {
    Fail("{}: has a row of {} bytes, expected {} for {} numbers of {}", PlaceOf(group, tensor),
         tensor.row.size(), expected, count, DtypeName(tensor.dtype));
  }
  const TensorView view{tensor.tensor, tensor.dtype, {count}, tensor.row, "plan"};
  return ReadFloats(view);
}

// The stored numbers of one router, to be replaced row by row.
struct StoredRouter {
  Matrix weight;
  std::string weight_format;
  std::vector<float> logit_bias, selection_bias;

  explicit StoredRouter(const MoeBlock& moe)
      : weight(DecodeAll(*moe.router_weight)),
        weight_format(moe.router_weight->format()),
        logit_bias(moe.router.logit_bias),
        selection_bias(moe.router.selection_bias) {}
};

void CheckWeightDtype(const PlannedGroup& group, const PlannedTensor& tensor,
                      const std::string& format) {
  std::string dtype(DtypeName(tensor.dtype));
  std::transform(dtype.begin(), dtype.end(), dtype.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (dtype == format) return;
  Fail("{}: rows are {}, the checkpoint stores {}", PlaceOf(group, tensor), dtype, format);
}

void LayIn(const PlannedGroup& group, const PlannedTensor& tensor, const RouterTensors& names,
           StoredRouter& router) {
  if (tensor.tensor == names.weight) {
    CheckWeightDtype(group, tensor, router.weight_format);
    const std::vector<float> row = DecodeRow(group, tensor, router.weight.cols());
    for (const std::int32_t member : group.members) {
      std::copy(row.begin(), row.end(), router.weight.row(member).begin());
    }
    return;
  }
  const bool is_logit_bias = !names.logit_bias.empty() && tensor.tensor == names.logit_bias;
  const bool is_selection_bias =
      !names.selection_bias.empty() && tensor.tensor == names.selection_bias;
  if (!is_logit_bias && !is_selection_bias) {
    Fail("{}: is not of this layer's router, whose rows are '{}'", PlaceOf(group, tensor),
         names.weight);
  }
  std::vector<float>& bias = is_logit_bias ? router.logit_bias : router.selection_bias;
  const float value = DecodeRow(group, tensor, 1).front();
  for (const std::int32_t member : group.members) bias[static_cast<std::size_t>(member)] = value;
}

void CheckMembers(const PlannedGroup& group, std::int64_t experts) {
  for (const std::int32_t member : group.members) {
    if (member < 0 || member >= experts) {
      Fail("plan, layer {}: names expert {}, the layer has {}", group.layer, member, experts);
    }
  }
}

RouterOverride ReplaceRows(const MoeBlock& moe, std::span<const PlannedGroup* const> groups) {
  StoredRouter router(moe);
  std::set<std::pair<std::string, std::int32_t>> replaced;
  for (const PlannedGroup* group : groups) {
    CheckMembers(*group, moe.router.experts);
    for (const PlannedTensor& tensor : group->tensors) {
      for (const std::int32_t member : group->members) {
        if (replaced.insert({tensor.tensor, member}).second) continue;
        Fail("{}: row {} is named twice", PlaceOf(*group, tensor), member);
      }
      LayIn(*group, tensor, moe.tensors, router);
    }
  }
  return {.weight = MakeDenseMatrix(std::move(router.weight)),
          .logit_bias = std::move(router.logit_bias),
          .selection_bias = std::move(router.selection_bias)};
}

void CheckReplacedRow(const PlannedGroup& group, const PlannedTensor& planned,
                      const TensorView& stored, std::size_t member) {
  const std::int32_t row = group.members[member];
  if (row < 0 || row >= stored.NumRows()) {
    Fail("{}: names row {}, the shape is {}", PlaceOf(group, planned), row,
         ShapeText(stored.shape));
  }
  const std::size_t row_bytes = stored.bytes.size() / static_cast<std::size_t>(stored.NumRows());
  const std::string found =
      Sha256Hex(stored.bytes.subspan(static_cast<std::size_t>(row) * row_bytes, row_bytes));
  if (found == planned.replaced_sha256[member]) return;
  Fail(
      "{}: tensor '{}' row {} has SHA-256 {}, the plan replaces a row with {}; the plan was made "
      "for other weights",
      stored.file, planned.tensor, row, found, planned.replaced_sha256[member]);
}

void CheckReplaced(const Checkpoint& checkpoint, const PlannedGroup& group) {
  for (const PlannedTensor& planned : group.tensors) {
    const TensorView& stored = checkpoint.GetTensor(planned.tensor);
    if (stored.dtype != planned.dtype) {
      Fail("{}: tensor '{}' is stored as {}, the plan's rows are {}", stored.file, planned.tensor,
           DtypeName(stored.dtype), DtypeName(planned.dtype));
    }
    if (planned.replaced_sha256.size() != group.members.size()) {
      Fail("{}: has {} hashes of replaced rows for {} members", PlaceOf(group, planned),
           planned.replaced_sha256.size(), group.members.size());
    }
    for (std::size_t member = 0; member < group.members.size(); ++member) {
      CheckReplacedRow(group, planned, stored, member);
    }
  }
}

}  // namespace

RouterOverrides MakeOverrides(const Model& model, std::span<const PlannedGroup> groups) {
  std::map<std::int64_t, std::vector<const PlannedGroup*>> by_layer;
  for (const PlannedGroup& group : groups) by_layer[group.layer].push_back(&group);
  RouterOverrides overrides;
  for (const auto& [index, of_layer] : by_layer) {
    const std::unique_ptr<Layer> layer = OpenRoutedLayer(model, index);
    overrides[index] = ReplaceRows(*layer->moe(), of_layer);
  }
  return overrides;
}

RouterOverrides MakeOverrides(const Model& model, const Checkpoint& checkpoint,
                              std::span<const PlannedGroup> groups) {
  for (const PlannedGroup& group : groups) CheckReplaced(checkpoint, group);
  return MakeOverrides(model, groups);
}

RouterOverrides RoutersOf(const Model& other, const Model& model) {
  const ModelInfo &theirs = other.info(), &ours = model.info();
  if (theirs.layers != ours.layers || theirs.hidden != ours.hidden ||
      theirs.experts != ours.experts || theirs.top_k != ours.top_k ||
      theirs.moe_layers.size() != ours.moe_layers.size()) {
    Fail(
        "routers of {} layers, hidden size {}, {} experts, top {} cannot run in a model of {} "
        "layers, hidden size {}, {} experts, top {}",
        theirs.layers, theirs.hidden, theirs.experts, theirs.top_k, ours.layers, ours.hidden,
        ours.experts, ours.top_k);
  }
  RouterOverrides overrides;
  for (std::size_t n = 0; n < ours.moe_layers.size(); ++n) {
    const std::int64_t index = theirs.moe_layers[n].layer;
    if (index != ours.moe_layers[n].layer) {
      Fail("one model routes in layer {} where the other does in layer {}", index,
           ours.moe_layers[n].layer);
    }
    const std::unique_ptr<Layer> layer = OpenRoutedLayer(other, index);
    overrides[index] = ReplaceRows(*layer->moe(), {});
  }
  return overrides;
}

}  // namespace cacheready
