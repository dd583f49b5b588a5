// Everything a scan measures in one layer, while the layer is open.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "checkpoint/checkpoint.h"
#include "records/scan_record.h"
#include "scan/scan.h"
#include "scan/scan_text.h"
#include "stream/stream.h"

namespace cacheready {

inline constexpr std::int64_t kProbeNoiseTokens = 64;  // on which an expert's unit is taken

// `reference` and `served` are the fp32 and the profile pass through the layer, on all of
// text.batch. options.profile must be resolved.
LayerRecord ScanLayer(const Checkpoint& checkpoint, const ScanText& text,
                      const ScanOptions& options, std::int64_t layer, const MoeBlock& moe,
                      const LayerActivations& reference, const LayerActivations& served);

}  // namespace cacheready
