// The scan as a stage of the main job.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cacheready/cacheready.h"
#include "pipeline/source.h"
#include "scan/scan.h"
#include "stream/measured_rates.h"

namespace cacheready {

ScanOptions ToOptions(const ScanRequest& request);
// Where the scan goes: request.out, or the folder of options.part in it.
std::string ScanFolder(const ScanRequest& request, const ScanOptions& options);
// Reads every layer once; goes on where an earlier call stopped.
ScanHeader ScanSource(const Source& source, std::vector<Document> documents,
                      const ScanRequest& request);
// What a finished scan in folder `scan` is, for programs and for people.
Json HeaderJson(const ScanHeader& header, const std::string& scan);
std::string HeaderText(const ScanHeader& header, const std::string& scan);
// What it would take (--dry-run), for programs and for people.
struct PlannedScan {
  Numerics numerics = Numerics::kFp32Chain;
  MemoryPlan memory;
  ScanEstimate estimate;
  MeasuredRates rates;
};
PlannedScan EstimateScan(const Source& source, const ScanRequest& request);
Json ToJson(const PlannedScan& planned);
std::string EstimateText(const PlannedScan& planned);

}  // namespace cacheready
