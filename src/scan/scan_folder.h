// What may already lie in the folder of a scan.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include "records/scan_record.h"

namespace cacheready {

// True if `out` holds this very scan, finished. Fails if it holds another finished scan, saying how
// to discard it.
bool IsFinishedScan(const std::filesystem::path& out, const ScanHeader& header);

// Removes every file a scan writes, and nothing else.
void DiscardScan(const std::filesystem::path& scan);

}  // namespace cacheready
