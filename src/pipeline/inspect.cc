// What a checkpoint is, from its headers.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/ranges.h>

#include <map>
#include <set>
#include <utility>

#include "cacheready/cacheready.h"
#include "pipeline/module_classes.h"
#include "pipeline/source.h"
#include "pipeline/text_table.h"

namespace cacheready {
namespace {

std::vector<std::string> TensorsOf(const RouterTensors& router) {
  std::vector<std::string> names = {router.weight};
  if (!router.logit_bias.empty()) names.push_back(router.logit_bias);
  if (!router.selection_bias.empty()) names.push_back(router.selection_bias);
  return names;
}

// Everything a plan could touch.
struct Routers {
  std::set<std::string> names;
  std::set<std::string> dtypes, bias_dtypes;
  std::uint64_t bytes = 0;

  void Add(const Checkpoint& checkpoint, const std::vector<MoeLayerInfo>& layers) {
    for (const MoeLayerInfo& layer : layers) {
      for (const std::string& name : TensorsOf(layer.tensors)) {
        const TensorView& tensor = checkpoint.GetTensor(name);
        names.insert(name);
        (name == layer.tensors.weight ? dtypes : bias_dtypes)
            .insert(std::string(DtypeName(tensor.dtype)));
        bytes += tensor.bytes.size();
      }
    }
  }
};

using Modules = std::map<std::string, ModuleTotals>;

Json RouterJson(const std::vector<MoeLayerInfo>& layers) {
  Json array = Json::array();
  for (const MoeLayerInfo& layer : layers) {
    Json entry;
    entry["layer"] = layer.layer;
    entry["tensors"] = TensorsOf(layer.tensors);
    array.push_back(std::move(entry));
  }
  return array;
}

std::uint64_t DataBytes(const Modules& classes) {
  std::uint64_t bytes = 0;
  for (const auto& [name, totals] : classes) bytes += totals.bytes;
  return bytes;
}

struct Inspected {
  const Checkpoint& checkpoint;
  const ModelInfo& info;
  const RouterSpec& router;  // of the first routed layer
  Routers routers;
  Modules modules;
};

Json InspectionJson(const Inspected& inspected) {
  const auto& [checkpoint, info, router, routers, classes] = inspected;
  Json json;
  json["schema"] = "cacheready.inspect/1";
  json["family"] = info.family;
  json["layers"] = info.layers;
  json["moe_layers"] = info.moe_layers.size();
  json["hidden"] = info.hidden;
  json["vocabulary"] = info.vocab;
  json["experts"] = info.experts;
  json["experts_per_token"] = info.top_k;
  json["expert_format"] = info.expert_format;
  json["expert_layout"] = info.expert_layout;
  json["quantization"] = info.quantization;
  json["mixers"] = info.attention;
  json["default_profile"] = std::string(DefaultProfile(info.expert_format).name);
  json["shards"] = checkpoint.shards().size();
  json["tensors"] = checkpoint.num_tensors();
  json["data_bytes"] = DataBytes(classes);
  json["router_bytes"] = routers.bytes;
  json["router_dtypes"] = routers.dtypes;
  json["router_bias_dtypes"] = routers.bias_dtypes;
  json["router"] = ToJson(router);
  json["router"].erase("selection_bias");  // values, not layout
  json["router"].erase("logit_bias");
  json["routers"] = RouterJson(info.moe_layers);
  json["mtp_routers"] = RouterJson(info.mtp_routers);
  json["modules"] = Json::array();
  for (const auto& [name, totals] : classes) {
    Json entry;
    entry["module"] = name;
    entry["tensors"] = totals.tensors;
    entry["bytes"] = totals.bytes;
    entry["formats"] = totals.formats;
    entry["dtypes"] = totals.dtypes;
    json["modules"].push_back(std::move(entry));
  }
  json["warnings"] = checkpoint.warnings();
  json["layout_sha256"] = checkpoint.LayoutSha256();
  return json;
}

// "0-47", "1-3, 5"; cut where it gets long.
std::string LayerRanges(const std::vector<MoeLayerInfo>& layers) {
  constexpr std::size_t kLongest = 40;
  std::string text;
  for (std::size_t begin = 0; begin < layers.size();) {
    std::size_t end = begin + 1;
    while (end < layers.size() && layers[end].layer == layers[end - 1].layer + 1) ++end;
    if (text.size() > kLongest) return text + ", ...";
    text += fmt::format("{}{}", text.empty() ? "" : ", ", layers[begin].layer);
    if (end - begin > 1) text += fmt::format("-{}", layers[end - 1].layer);
    begin = end;
  }
  return text;
}

std::string RoutingText(const RouterSpec& router) {
  const auto scoring = [&]() -> std::string {
    switch (router.scoring) {
      case Scoring::kSoftmax:
        return "softmax";
      case Scoring::kSigmoid:
        return "sigmoid";
      case Scoring::kLogits:
        return "logits, softmax over the selected";
      case Scoring::kLogitsSigmoid:
        return "logits, sigmoid of the selected";
      case Scoring::kSparseMixer:
        return "SparseMixer";
    }
    return "";
  }();
  std::string text = scoring;
  const bool normalizes =
      router.scoring == Scoring::kSoftmax || router.scoring == Scoring::kSigmoid;
  if (normalizes) text += router.renormalize ? ", renormalized" : ", not renormalized";
  if (router.scaling != 1) text += fmt::format(", times {:g}", router.scaling);
  if (router.top_groups < router.num_groups) {
    text += fmt::format("; the best {} of {} groups of experts first", router.top_groups,
                        router.num_groups);
  }
  return text;
}

std::string BiasText(const Inspected& inspected) {
  const RouterTensors& first = inspected.info.moe_layers.front().tensors;
  const std::string dtypes = fmt::format("{}", fmt::join(inspected.routers.bias_dtypes, ", "));
  if (!first.logit_bias.empty())
    return fmt::format("{}, on the logits: {}", dtypes, first.logit_bias);
  if (first.selection_bias.empty()) return "none";
  return fmt::format("{}, for the selection only: {}", dtypes, first.selection_bias);
}

std::string PatchText(const Inspected& inspected) {
  if (inspected.router.weights_on_input) {
    return "nothing: the router's weights multiply the experts' inputs";
  }
  const std::uint64_t bytes = DataBytes(inspected.modules), router = inspected.routers.bytes;
  return fmt::format(
      "rows{} of the routers, at most {} in {} tensors ({:.4f} % of the bytes)",
      inspected.routers.bias_dtypes.empty() ? "" : " and biases", ByteText(router),
      inspected.routers.names.size(),
      bytes == 0 ? 0.0 : 100 * static_cast<double>(router) / static_cast<double>(bytes));
}

std::string Joined(const std::set<std::string>& words) {
  return words.empty() ? "-" : fmt::format("{}", fmt::join(words, " "));
}

std::string InspectionText(const Inspected& inspected) {
  const auto& [checkpoint, info, router, routers, modules] = inspected;
  const auto moe_layers = info.moe_layers.size();
  FactList facts;
  facts.Add("checkpoint", checkpoint.folder().string());
  facts.Add("family", info.family);
  facts.Add("layers", fmt::format("{}, with routed experts: {} ({})", info.layers, moe_layers,
                                  LayerRanges(info.moe_layers)));
  facts.Add("experts", fmt::format("{} a layer, {} a token", info.experts, info.top_k));
  facts.Add("expert weights", fmt::format("{}, {}", info.expert_format, info.expert_layout));
  facts.Add("quantization", info.quantization);
  facts.Add("mixers", info.attention);
  facts.Add("hidden, vocabulary", fmt::format("{}, {}", info.hidden, Grouped(info.vocab)));
  facts.Add("routing", RoutingText(router));
  facts.Add("router rows", fmt::format("{} of {} {} in each of {} layers: {}", info.experts,
                                       info.hidden, fmt::join(routers.dtypes, ", "), moe_layers,
                                       info.moe_layers.front().tensors.weight));
  facts.Add("router biases", BiasText(inspected));
  facts.Add("MTP routers", info.mtp_routers.empty()
                               ? std::string("none")
                               : fmt::format("{}, left as they are: {}", info.mtp_routers.size(),
                                             info.mtp_routers.front().tensors.weight));
  facts.Add("files", fmt::format("{} shards, {} tensors, {}", checkpoint.shards().size(),
                                 Grouped(static_cast<std::int64_t>(checkpoint.num_tensors())),
                                 ByteText(DataBytes(modules))));
  facts.Add("a plan may touch", PatchText(inspected));
  facts.Add("default profile", std::string(DefaultProfile(info.expert_format).name));
  TextTable table({"modules", "tensors", "bytes", "weights", "dtypes"});
  for (const auto& [name, totals] : modules) {
    table.AddRow({name, Grouped(totals.tensors), ByteText(totals.bytes), Joined(totals.formats),
                  Joined(totals.dtypes)});
  }
  return facts.Text() + "\n" + table.Text();
}

}  // namespace

Outcome Inspect(const InspectRequest& request) {
  const auto source = OpenSource(request.source);
  const Checkpoint& checkpoint = source->checkpoint;
  const ModelInfo& info = source->model->info();
  const auto first = source->model->OpenLayer(info.moe_layers.front().layer);
  Routers routers, all;
  routers.Add(checkpoint, info.moe_layers);
  all = routers;
  all.Add(checkpoint, info.mtp_routers);
  const Inspected inspected{checkpoint, info, first->moe()->router, std::move(routers),
                            CountModules(checkpoint, all.names)};
  return {.json = WriteJson(InspectionJson(inspected)), .summary = InspectionText(inspected)};
}

}  // namespace cacheready
