// The scan: every layer is streamed once, its experts are run and compared, and what was measured
// is written per token, so that plans can be made without the model (docs/formats/scan.md).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "arithmetic/numerics.h"
#include "checkpoint/checkpoint.h"
#include "model/model.h"
#include "records/scan_record.h"
#include "stream/memory_plan.h"
#include "text/documents.h"

namespace cacheready {

struct ScanOptions {
  std::string profile;                 // "" = the checkpoint's default
  std::int64_t tokens = 16384;         // calibration tokens, without the probe
  std::int64_t document_tokens = 512;  // longer documents are cut: evidence needs many of them
  std::uint64_t seed = 0;
  double tolerance = 1.0;              // as `plan` will use it: candidates lie below 3 x threshold
  std::int64_t sample_per_side = 512;  // sampled tokens of one expert
  std::int64_t neighbour_tokens = 64;  // of these on which a non-candidate meets its neighbour
  std::int64_t pairs_per_expert = 8;   // more candidate pairs than this x experts: shared sample
  std::int64_t shared_sample = 4096;   // tokens of that sample
  std::int64_t decoys_per_layer = 8;   // 0 = none
  std::uint64_t memory_bytes = 0;      // for expert outputs held at once; 0: as the model is read
  Numerics numerics = Numerics::kFp32Chain;  // of both passes, what is compared, noise as served
  ScanPart part;       // of the documents; the records of all parts merge (scan/merge.h)
  bool fresh = false;  // discard what another scan left in the folder
  // Called after each committed layer; may throw (tests interrupt here).
  std::function<void(std::int64_t layer)> after_layer;
};

// Runs the scan into folder `out` (made if absent) or goes on where an interrupted run of the same
// key stopped; a finished scan of the same key is returned as it is. The bytes written depend on
// (checkpoint, documents as a set, options) only. Throws Interrupted between layers. Fails if `out`
// holds a scan of another key (unless options.fresh), or the text is too short for a probe.
ScanHeader RunScan(const Checkpoint& checkpoint, const Model& model,
                   std::vector<Document> documents, const ScanOptions& options,
                   const std::filesystem::path& out);

// What a scan needs besides weights, at most: what its reading is planned with.
MemoryUse ScanMemory(const Model& model, const ScanOptions& options);

// What a scan would read and hold, from headers only (--dry-run). Upper bounds, but for the passes,
// which depend on how many pairs are candidates.
struct ScanEstimate {
  std::uint64_t read_bytes = 0;    // of weights, in all passes
  std::int64_t expert_passes = 1;  // how often each expert is read, about
  std::uint64_t record_bytes = 0;  // of SCAN/ when finished, if every layer has candidates
  std::uint64_t state_bytes = 0;   // of SCAN/ while running, on top
  std::uint64_t memory_bytes = 0;  // of the process, weights included
  double flops = 0;                // of the matrix products, about, if no pair is a candidate
  double fp32_flops = 0;           // of these, those that are in fp32 in every numerics class
};
ScanEstimate EstimateScan(const Model& model, const ScanOptions& options, const MemoryPlan& plan);

}  // namespace cacheready
