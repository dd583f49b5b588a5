// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "fuzz/scratch_folder.h"
#include "fuzz/targets.h"
#include "planning/plan_maker.h"
#include "records/scan_record.h"

namespace cacheready {
namespace {

// Documents of one token each, in two domains, as many as the record has tokens.
ScanHeader HeaderOf(const LayerRecord& record) {
  ScanHeader header;
  header.moe_layers = {record.layer};
  header.probe_tokens = record.probe_logits.rows();
  for (std::int64_t t = 0; t < record.logits.rows(); ++t) {
    header.documents.push_back({std::to_string(t), t % 2 == 0 ? "a" : "b", t, 1});
  }
  return header;
}

}  // namespace

void FuzzLayerRecord(std::span<const std::uint8_t> input) {
  static const FuzzFolder folder;
  try {
    folder.Write("layer-0000.safetensors", input);
    const LayerRecord record = ReadLayerRecord(folder.path(), 0);
    PlanOptions options;
    options.bootstrap_draws = 200;
    options.null_layers = 1;
    MakePlan(
        HeaderOf(record), [&](std::int64_t) { return record; }, options);
  } catch (const Error&) {
  }
}

}  // namespace cacheready
