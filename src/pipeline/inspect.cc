// What a checkpoint is, from its headers.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "cacheready/cacheready.h"
#include "pipeline/source.h"
#include "pipeline/text_table.h"

namespace cacheready {
namespace {

// Modules as people talk of them, in the order of the table.
struct ModuleClass {
  const char* name;
  std::vector<std::string_view> parts;  // of the tensor name
};
const std::vector<ModuleClass>& ModuleClasses() {
  static const std::vector<ModuleClass> classes = {
      {"multi-token prediction", {"mtp."}},
      {"vision", {"visual.", "vision_"}},
      {"shared experts", {"shared_expert", "shared_mlp"}},
      {"routed experts", {".experts.", "input_linear", "output_linear"}},
      {"embedding and head", {"embed_tokens", "lm_head", "embedding"}},
      {"norms", {"norm"}},
      {"mixers", {"attn", "attention", "linear_attn", "mamba", ".conv."}},
  };
  return classes;
}

struct ClassTotals {
  std::int64_t tensors = 0;
  std::uint64_t bytes = 0;
  std::set<std::string> dtypes;
};

std::string ClassOf(std::string_view tensor, const std::set<std::string>& routers) {
  if (routers.contains(std::string(tensor))) return "routers";
  for (const ModuleClass& module : ModuleClasses()) {
    for (const std::string_view part : module.parts) {
      if (tensor.find(part) != std::string_view::npos) return module.name;
    }
  }
  return "other";
}

std::vector<std::string> TensorsOf(const RouterTensors& router) {
  std::vector<std::string> names = {router.weight};
  if (!router.logit_bias.empty()) names.push_back(router.logit_bias);
  if (!router.selection_bias.empty()) names.push_back(router.selection_bias);
  return names;
}

// Everything a plan could touch.
struct Routers {
  std::set<std::string> names;
  std::set<std::string> dtypes;
  std::uint64_t bytes = 0;

  void Add(const Checkpoint& checkpoint, const std::vector<MoeLayerInfo>& layers) {
    for (const MoeLayerInfo& layer : layers) {
      for (const std::string& name : TensorsOf(layer.tensors)) {
        const TensorView& tensor = checkpoint.GetTensor(name);
        names.insert(name);
        dtypes.insert(std::string(DtypeName(tensor.dtype)));
        bytes += tensor.bytes.size();
      }
    }
  }
};

std::map<std::string, ClassTotals> CountClasses(const Checkpoint& checkpoint,
                                                const std::set<std::string>& routers) {
  std::map<std::string, ClassTotals> classes;
  for (const std::string_view name : checkpoint.TensorNames()) {
    const TensorView& tensor = checkpoint.GetTensor(name);
    ClassTotals& totals = classes[ClassOf(name, routers)];
    ++totals.tensors;
    totals.bytes += tensor.bytes.size();
    totals.dtypes.insert(std::string(DtypeName(tensor.dtype)));
  }
  return classes;
}

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

std::uint64_t DataBytes(const std::map<std::string, ClassTotals>& classes) {
  std::uint64_t bytes = 0;
  for (const auto& [name, totals] : classes) bytes += totals.bytes;
  return bytes;
}

Json InspectionJson(const Checkpoint& checkpoint, const ModelInfo& info, const Routers& routers,
                    const std::map<std::string, ClassTotals>& classes) {
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
  json["mixers"] = info.attention;
  json["default_profile"] = std::string(DefaultProfile(info.expert_format).name);
  json["shards"] = checkpoint.shards().size();
  json["tensors"] = checkpoint.num_tensors();
  json["data_bytes"] = DataBytes(classes);
  json["router_bytes"] = routers.bytes;
  json["router_dtypes"] = routers.dtypes;
  json["routers"] = RouterJson(info.moe_layers);
  json["mtp_routers"] = RouterJson(info.mtp_routers);
  json["modules"] = Json::array();
  for (const auto& [name, totals] : classes) {
    Json entry;
    entry["module"] = name;
    entry["tensors"] = totals.tensors;
    entry["bytes"] = totals.bytes;
    entry["dtypes"] = totals.dtypes;
    json["modules"].push_back(std::move(entry));
  }
  json["warnings"] = checkpoint.warnings();
  json["layout_sha256"] = checkpoint.LayoutSha256();
  return json;
}

std::string RouterLine(const ModelInfo& info, const Routers& routers) {
  const RouterTensors& first = info.moe_layers.front().tensors;
  std::string line = fmt::format("{} rows of {} in each of {} layers", info.experts,
                                 fmt::join(routers.dtypes, ", "), info.moe_layers.size());
  if (!first.logit_bias.empty()) line += ", with a logit bias";
  if (!first.selection_bias.empty()) line += ", with a selection bias";
  return line;
}

std::string InspectionText(const Checkpoint& checkpoint, const ModelInfo& info,
                           const Routers& routers,
                           const std::map<std::string, ClassTotals>& classes) {
  const std::uint64_t bytes = DataBytes(classes);
  FactList facts;
  facts.Add("checkpoint", checkpoint.folder().string());
  facts.Add("family", info.family);
  facts.Add("layers", fmt::format("{}, of these {} with routed experts", info.layers,
                                  info.moe_layers.size()));
  facts.Add("experts", fmt::format("{} a layer, {} a token", info.experts, info.top_k));
  facts.Add("expert weights", fmt::format("{}, {}", info.expert_format, info.expert_layout));
  facts.Add("mixers", info.attention);
  facts.Add("hidden, vocabulary", fmt::format("{}, {}", info.hidden, Grouped(info.vocab)));
  facts.Add("routers", RouterLine(info, routers));
  facts.Add("first router", info.moe_layers.front().tensors.weight);
  facts.Add("MTP routers", info.mtp_routers.empty()
                               ? std::string("none")
                               : fmt::format("{}, left as they are", info.mtp_routers.size()));
  facts.Add("files", fmt::format("{} shards, {} tensors, {}", checkpoint.shards().size(),
                                 Grouped(static_cast<std::int64_t>(checkpoint.num_tensors())),
                                 ByteText(bytes)));
  facts.Add("a plan may touch", fmt::format("{} in {} tensors ({:.4f} % of the bytes)",
                                            ByteText(routers.bytes), routers.names.size(),
                                            bytes == 0 ? 0.0
                                                       : 100 * static_cast<double>(routers.bytes) /
                                                             static_cast<double>(bytes)));
  facts.Add("default profile", std::string(DefaultProfile(info.expert_format).name));
  TextTable table({"modules", "tensors", "bytes", "dtypes"});
  for (const auto& [name, totals] : classes) {
    table.AddRow({name, Grouped(totals.tensors), ByteText(totals.bytes),
                  fmt::format("{}", fmt::join(totals.dtypes, " "))});
  }
  return facts.Text() + "\n" + table.Text();
}

}  // namespace

Outcome Inspect(const InspectRequest& request) {
  const auto source = OpenSource(request.source);
  const Checkpoint& checkpoint = source->checkpoint;
  const ModelInfo& info = source->model->info();
  Routers routers;
  routers.Add(checkpoint, info.moe_layers);
  const auto classes = CountClasses(checkpoint, [&] {
    Routers all = routers;
    all.Add(checkpoint, info.mtp_routers);
    return all.names;
  }());
  return {.json = WriteJson(InspectionJson(checkpoint, info, routers, classes)),
          .summary = InspectionText(checkpoint, info, routers, classes)};
}

}  // namespace cacheready
