// SPDX-License-Identifier: Apache-2.0
#include "pipeline/scan_command.h"

#include <fmt/format.h>

#include <filesystem>

#include "base/console.h"
#include "pipeline/part_choice.h"
#include "pipeline/reading.h"
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
  const Profile& profile = ChooseProfile(request.profile, source.model->info().expert_format);
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
  ManageReading({source.model.get()}, ScanMemory(*source.model, options), request.memory_bytes);
  ScanHeader header = RunScan(source.checkpoint, *source.model, std::move(documents), options,
                              ScanFolder(request, options));
  TellReading({source.model.get()});
  return header;
}

PlannedScan EstimateScan(const Source& source, const ScanRequest& request) {
  ScanOptions options = ToOptions(request);
  options.numerics = NumericsOf(source, request);
  const Model& model = *source.model;
  PlannedScan planned;
  planned.memory = ManageReading({&model}, ScanMemory(model, options), request.memory_bytes);
  planned.estimate = EstimateScan(model, options, planned.memory);
  planned.numerics = options.numerics;
  planned.rates = MeasureRates(model, options.numerics);
  return planned;
}

namespace {

double ReadingSeconds(const PlannedScan& planned) {
  return static_cast<double>(planned.estimate.read_bytes) / planned.rates.bytes_per_second;
}

double ComputingSeconds(const PlannedScan& planned) {
  const double fp32 = planned.estimate.fp32_flops;
  return fp32 / planned.rates.fp32_flops_per_second +
         (planned.estimate.flops - fp32) / planned.rates.flops_per_second;
}

std::string ComputingText(const PlannedScan& planned) {
  const double all = 1e-12 * planned.estimate.flops, fp32 = 1e-12 * planned.estimate.fp32_flops;
  const double rate = 1e-12 * planned.rates.flops_per_second;
  if (planned.numerics == Numerics::kFp32Chain) {
    return fmt::format("{:.2g} TFLOP at {:.3g} TFLOP/s", all, rate);
  }
  return fmt::format("{:.2g} TFLOP in {} at {:.3g} TFLOP/s, {:.2g} in fp32 at {:.3g}", all - fp32,
                     NumericsClassName(planned.numerics), rate, fp32,
                     1e-12 * planned.rates.fp32_flops_per_second);
}

}  // namespace

Json ToJson(const PlannedScan& planned) {
  Json json;
  json["read_bytes"] = planned.estimate.read_bytes;
  json["expert_passes"] = planned.estimate.expert_passes;
  json["record_bytes"] = planned.estimate.record_bytes;
  json["state_bytes"] = planned.estimate.state_bytes;
  json["memory_bytes"] = planned.estimate.memory_bytes;
  json["memory"] = ToJson(planned.memory);
  json["numerics_class"] = NumericsClassName(planned.numerics);
  json["flops"] = planned.estimate.flops;
  json["fp32_flops"] = planned.estimate.fp32_flops;
  json["measured"]["layer"] = planned.rates.layer;
  json["measured"]["experts"] = planned.rates.experts;
  json["measured"]["bytes_per_second"] = planned.rates.bytes_per_second;
  json["measured"]["way"] = planned.rates.way;
  json["measured"]["flops_per_second"] = planned.rates.flops_per_second;
  json["measured"]["fp32_flops_per_second"] = planned.rates.fp32_flops_per_second;
  json["reading_seconds"] = ReadingSeconds(planned);
  json["computing_seconds"] = ComputingSeconds(planned);
  return json;
}

std::string EstimateText(const PlannedScan& planned) {
  const ScanEstimate& estimate = planned.estimate;
  FactList facts;
  AddFacts(planned.memory, facts);
  facts.Add("reads", estimate.expert_passes == 1
                         ? ByteText(estimate.read_bytes) + ", once"
                         : fmt::format("about {}, each expert about {} times",
                                       ByteText(estimate.read_bytes), estimate.expert_passes));
  facts.Add("disk, finished", "at most " + ByteText(estimate.record_bytes));
  facts.Add("disk, while running", "at most " + ByteText(estimate.state_bytes) + " more");
  const MeasuredRates& rates = planned.rates;
  facts.Add("reading", fmt::format("about {} at {}/s ({}), as measured on {} experts of layer {}",
                                   DurationText(ReadingSeconds(planned)),
                                   ByteText(static_cast<std::uint64_t>(rates.bytes_per_second)),
                                   rates.way, rates.experts, rates.layer));
  facts.Add("computing",
            fmt::format("about {}: {}, as measured on these, more where pairs are near",
                        DurationText(ComputingSeconds(planned)), ComputingText(planned)));
  return facts.Text();
}

Outcome Scan(const ScanRequest& request) {
  const ScanOptions options = ToOptions(request);
  const auto source = OpenSource(request.source);
  if (request.dry_run) {
    const PlannedScan planned = EstimateScan(*source, request);
    Json json;
    json["schema"] = "cacheready.scan-estimate/1";
    json.update(ToJson(planned));
    return {.json = WriteJson(json), .summary = EstimateText(planned)};
  }
  const std::string folder = ScanFolder(request, options);
  const ScanHeader header =
      ScanSource(*source, ReadText(*source, {.path = request.calibration}), request);
  return {.json = WriteJson(HeaderJson(header, folder)), .summary = HeaderText(header, folder)};
}

}  // namespace cacheready
