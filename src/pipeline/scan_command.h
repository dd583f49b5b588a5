// The scan as a stage of the main job.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cacheready/cacheready.h"
#include "pipeline/source.h"
#include "scan/scan.h"

namespace cacheready {

ScanOptions ToOptions(const ScanRequest& request);
// Reads every layer once; goes on where an earlier call stopped.
ScanHeader ScanSource(const Source& source, std::vector<Document> documents,
                      const ScanRequest& request);
Json ToJson(const ScanEstimate& estimate);
std::string EstimateText(const ScanEstimate& estimate);

}  // namespace cacheready
