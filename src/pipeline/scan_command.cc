// SPDX-License-Identifier: Apache-2.0
#include "pipeline/scan_command.h"

#include <fmt/format.h>

#include "pipeline/files.h"
#include "pipeline/text_table.h"

namespace cacheready {
namespace {

Json HeaderJson(const ScanHeader& header, const ScanRequest& request) {
  Json json;
  json["schema"] = "cacheready.scan-result/1";
  json["scan"] = request.out;
  json["key"] = header.key;
  json["profile"] = header.profile;
  json["numerics_class"] = header.numerics_class;
  json["documents"] = header.documents.size();
  json["tokens"] = header.documents.empty()
                       ? 0
                       : header.documents.back().first_token + header.documents.back().tokens;
  json["probe_tokens"] = header.probe_tokens;
  json["moe_layers"] = header.moe_layers.size();
  return json;
}

std::string HeaderText(const ScanHeader& header, const Json& json, const ScanRequest& request) {
  FactList facts;
  facts.Add("scan", request.out);
  facts.Add("profile", header.profile);
  facts.Add("text", fmt::format("{} tokens in {} documents, and a probe of {}",
                                json["tokens"].get<std::int64_t>(), header.documents.size(),
                                header.probe_tokens));
  facts.Add("routed layers", std::to_string(header.moe_layers.size()));
  facts.Add("key", header.key);
  return facts.Text() + "\nNext: cacheready plan " + request.out + " -o plan.json\n";
}

}  // namespace

ScanOptions ToOptions(const ScanRequest& request) {
  ScanOptions options;
  options.profile = request.profile;
  options.tokens = request.tokens;
  options.document_tokens = request.document_tokens;
  options.seed = request.seed;
  options.tolerance = request.tolerance;
  options.memory_bytes = request.memory_bytes;
  options.fresh = request.fresh;
  return options;
}

ScanHeader ScanSource(const Source& source, std::vector<Document> documents,
                      const ScanRequest& request) {
  return RunScan(source.checkpoint, *source.model, std::move(documents), ToOptions(request),
                 request.out);
}

Json ToJson(const ScanEstimate& estimate) {
  Json json;
  json["read_bytes"] = estimate.read_bytes;
  json["record_bytes"] = estimate.record_bytes;
  json["state_bytes"] = estimate.state_bytes;
  json["memory_bytes"] = estimate.memory_bytes;
  return json;
}

std::string EstimateText(const ScanEstimate& estimate) {
  FactList facts;
  facts.Add("reads", ByteText(estimate.read_bytes));
  facts.Add("disk, finished", "at most " + ByteText(estimate.record_bytes));
  facts.Add("disk, while running", "at most " + ByteText(estimate.state_bytes) + " more");
  facts.Add("memory beside mapped weights", "at most " + ByteText(estimate.memory_bytes));
  return facts.Text();
}

Outcome Scan(const ScanRequest& request) {
  const auto source = OpenSource(request.source);
  if (request.dry_run) {
    const ScanEstimate estimate =
        EstimateScan(source->checkpoint, *source->model, ToOptions(request));
    Json json;
    json["schema"] = "cacheready.scan-estimate/1";
    json.update(ToJson(estimate));
    return {.json = WriteJson(json), .summary = EstimateText(estimate)};
  }
  const ScanHeader header =
      ScanSource(*source, ReadText(*source, {.path = request.calibration}), request);
  const Json json = HeaderJson(header, request);
  return {.json = WriteJson(json), .summary = HeaderText(header, json, request)};
}

}  // namespace cacheready
