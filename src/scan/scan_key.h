// The identity of a scan: what decides the bytes of its records.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "checkpoint/checkpoint.h"
#include "records/scan_record.h"
#include "scan/scan.h"
#include "scan/scan_text.h"

namespace cacheready {

// The header of a scan with everything filled in, the key too: SHA-256 over headers, config, router
// tensors, tokenizer, documents, options and numerics class. Threads, memory and machine are left
// out, as no byte depends on them. options.profile must be resolved.
ScanHeader MakeScanHeader(const Checkpoint& checkpoint, const Model& model, const ScanText& text,
                          const ScanOptions& options);

}  // namespace cacheready
