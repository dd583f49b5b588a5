// SPDX-License-Identifier: Apache-2.0
#include "scan/scan_key.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "arithmetic/profile.h"
#include "base/hash.h"
#include "io/mapped_file.h"

namespace cacheready {
namespace {

Json DocumentsJson(std::span<const ScannedDocument> documents) {
  Json list = Json::array();
  for (const ScannedDocument& document : documents) {
    Json entry;
    entry["sha256"] = document.sha256;
    entry["domain"] = document.domain;
    entry["tokens"] = document.tokens;
    list.push_back(std::move(entry));
  }
  return list;
}

Json OptionsJson(const ScanText& text, const ScanOptions& options) {
  std::set<std::string> domains;
  std::int64_t longest = 0;
  for (const ScannedDocument& document : text.all_documents) {
    domains.insert(document.domain);
    longest = std::max(longest, document.tokens);
  }
  Json json;
  json["tokens"] = options.tokens;
  json["document_tokens"] = options.document_tokens;
  json["tolerance"] = options.tolerance;
  json["sample_per_side"] = options.sample_per_side;
  json["neighbour_tokens"] = options.neighbour_tokens;
  json["pairs_per_expert"] = options.pairs_per_expert;
  json["shared_sample"] = options.shared_sample;
  json["decoys_per_layer"] = options.decoys_per_layer;
  json["scanned_tokens"] = text.all_tokens;
  json["longest_context"] = longest;
  json["domains"] = domains;
  json["modality"] = "text only: image tokens not measured";
  json["probe_documents"] = DocumentsJson(text.probe_documents);
  return json;
}

std::string TensorHash(const Checkpoint& checkpoint, const std::string& name) {
  return name.empty() ? "none" : Sha256Hex(checkpoint.GetTensor(name).bytes);
}

// Routers are few megabytes even where the experts are hundreds of gigabytes.
Json RoutersJson(const Checkpoint& checkpoint, const ModelInfo& info) {
  Json list = Json::array();
  for (const MoeLayerInfo& layer : info.moe_layers) {
    list.push_back({layer.layer, TensorHash(checkpoint, layer.tensors.weight),
                    TensorHash(checkpoint, layer.tensors.logit_bias),
                    TensorHash(checkpoint, layer.tensors.selection_bias)});
  }
  return list;
}

std::string TokenizerHash(const Checkpoint& checkpoint) {
  const std::filesystem::path path = checkpoint.folder() / "tokenizer.json";
  return std::filesystem::exists(path) ? Sha256Hex(MappedFile(path).bytes()) : "none";
}

}  // namespace

ScanHeader MakeScanHeader(const Checkpoint& checkpoint, const Model& model, const ScanText& text,
                          const ScanOptions& options) {
  const ModelInfo& info = model.info();
  ScanHeader header;
  header.tool_version = std::string(CACHEREADY_VERSION);
  header.family = info.family;
  header.layout_sha256 = checkpoint.LayoutSha256();
  header.profile = options.profile;
  header.numerics_class = NumericsClassName(options.numerics);
  header.seed = options.seed;
  header.hidden = info.hidden;
  header.layers = info.layers;
  header.part = text.part;
  header.documents = text.all_documents;
  header.probe_tokens = static_cast<std::int64_t>(text.probe_rows.size());
  for (const MoeLayerInfo& layer : info.moe_layers) header.moe_layers.push_back(layer.layer);
  header.options = OptionsJson(text, options);

  Json identity;
  identity["tool_version"] = header.tool_version;
  identity["numerics_class"] = header.numerics_class;
  identity["layout"] = header.layout_sha256;
  identity["config"] = Sha256Hex(WriteJson(checkpoint.config()));
  identity["routers"] = RoutersJson(checkpoint, info);
  identity["tokenizer"] = TokenizerHash(checkpoint);
  identity["profile"] = header.profile;
  identity["seed"] = header.seed;
  identity["documents"] = DocumentsJson(text.all_documents);
  identity["options"] = header.options;
  header.key = Sha256Hex(WriteJson(identity));
  return header;
}

}  // namespace cacheready
