// SPDX-License-Identifier: Apache-2.0
#include "pipeline/scan_command.h"

#include <fmt/format.h>

#include <filesystem>

#include "pipeline/part_choice.h"
#include "pipeline/text_table.h"
#include "records/scan_part.h"

namespace cacheready {
Json HeaderJson(const ScanHeader& header, const std::string& scan) {
  const DocumentRange range = DocumentsOfPart(header.documents, header.part);
  Json json;
  json["schema"] = "cacheready.scan-result/1";
  json["scan"] = scan;
  json["key"] = header.key;
  json["profile"] = header.profile;
  json["numerics_class"] = header.numerics_class;
  json["part"]["number"] = header.part.number;
  json["part"]["of"] = header.part.of;
  json["documents"] = range.last - range.first;
  json["tokens"] = range.tokens;
  json["probe_tokens"] = header.probe_tokens;
  json["moe_layers"] = header.moe_layers.size();
  return json;
}

std::string HeaderText(const ScanHeader& header, const std::string& scan) {
  const DocumentRange range = DocumentsOfPart(header.documents, header.part);
  const bool is_whole = header.part.of == 1;
  FactList facts;
  facts.Add("scan", scan);
  if (!is_whole) facts.Add("part", fmt::format("{} of {}", header.part.number, header.part.of));
  facts.Add("profile", header.profile);
  facts.Add("numerics class", header.numerics_class);
  facts.Add("text", fmt::format("{} tokens in {} documents, and a probe of {}", range.tokens,
                                range.last - range.first, header.probe_tokens));
  facts.Add("routed layers", std::to_string(header.moe_layers.size()));
  facts.Add("key", header.key);
  const std::string next =
      is_whole ? "plan " + scan + " -o plan.json"
               : fmt::format("merge {} -o SCAN, with all {} parts",
                             (std::filesystem::path(scan).parent_path() / "part-*").string(),
                             header.part.of);
  return facts.Text() + "\nNext: cacheready " + next + "\n";
}

ScanOptions ToOptions(const ScanRequest& request) {
  ScanOptions options;
  options.profile = request.profile;
  options.tokens = request.tokens;
  options.document_tokens = request.document_tokens;
  options.seed = request.seed;
  options.tolerance = request.tolerance;
  options.memory_bytes = request.memory_bytes;
  options.fresh = request.fresh;
  if (!request.part.empty()) options.part = ChoosePart(request.part);
  return options;
}

// "auto" is a bf16 class only where activations are served in fewer bits: what other profiles do to
// an expert is too near the error of the class, and would be refused.
Numerics NumericsOf(const Source& source, const ScanRequest& request) {
  const Profile& profile = request.profile.empty()
                               ? DefaultProfile(source.model->info().expert_format)
                               : GetProfile(request.profile);
  const bool too_near = request.numerics == "auto" && !profile.quantize_activations_e4m3;
  return too_near ? Numerics::kFp32Chain : ParseNumerics(request.numerics);
}

std::string ScanFolder(const ScanRequest& request, const ScanOptions& options) {
  if (request.part.empty()) return request.out;
  return (std::filesystem::path(request.out) / PartFolder(options.part)).string();
}

ScanHeader ScanSource(const Source& source, std::vector<Document> documents,
                      const ScanRequest& request) {
  ScanOptions options = ToOptions(request);
  options.numerics = NumericsOf(source, request);
  return RunScan(source.checkpoint, *source.model, std::move(documents), options,
                 ScanFolder(request, options));
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
  const ScanOptions options = ToOptions(request);
  const auto source = OpenSource(request.source);
  if (request.dry_run) {
    const ScanEstimate estimate = EstimateScan(source->checkpoint, *source->model, options);
    Json json;
    json["schema"] = "cacheready.scan-estimate/1";
    json.update(ToJson(estimate));
    return {.json = WriteJson(json), .summary = EstimateText(estimate)};
  }
  const std::string folder = ScanFolder(request, options);
  const ScanHeader header =
      ScanSource(*source, ReadText(*source, {.path = request.calibration}), request);
  return {.json = WriteJson(HeaderJson(header, folder)), .summary = HeaderText(header, folder)};
}

}  // namespace cacheready
