// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "fuzz/scratch_folder.h"
#include "fuzz/targets.h"
#include "planning/plan_maker.h"
#include "records/scan_record.h"
#include "scan/merge_layer.h"

namespace cacheready {
namespace {

// Documents of one token each, in two domains, `copies` times as many as the record has tokens.
ScanHeader HeaderOf(const LayerRecord& record, std::int64_t copies) {
  ScanHeader header;
  header.moe_layers = {record.layer};
  header.probe_tokens = record.probe_logits.rows();
  for (std::int64_t t = 0; t < copies * record.logits.rows(); ++t) {
    header.documents.push_back({std::to_string(t), t % 2 == 0 ? "a" : "b", t, 1});
  }
  header.options["sample_per_side"] = 3;
  header.options["neighbour_tokens"] = 2;
  header.options["pairs_per_expert"] = 1;
  header.options["shared_sample"] = 4;
  return header;
}

// The record as both parts of a text given twice.
void MergeWithItself(const LayerRecord& record) {
  try {
    const std::vector<LayerRecord> parts = {record, record};
    const LayerRecord merged = MergeLayer(HeaderOf(record, 2), parts);
    CR_CHECK(merged.logits.rows() == 2 * record.logits.rows(), "tokens are lost");
    CR_CHECK(merged.samples.size() == record.samples.size(), "samples are lost");
  } catch (const Error&) {
  }
}

}  // namespace

void FuzzLayerRecord(std::span<const std::uint8_t> input) {
  static const FuzzFolder folder;
  try {
    folder.Write("layer-0000.safetensors", input);
    const LayerRecord record = ReadLayerRecord(folder.path(), 0);
    MergeWithItself(record);
    PlanOptions options;
    options.bootstrap_draws = 200;
    options.null_layers = 1;
    MakePlan(
        HeaderOf(record, 1), [&](std::int64_t) { return record; }, options);
  } catch (const Error&) {
  }
}

}  // namespace cacheready
