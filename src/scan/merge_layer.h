// The records of one layer from all parts of a scan, made the record of the whole.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "records/scan_record.h"

namespace cacheready {

// `header` is that of any part; `parts` are the records of parts 1 ... N in order. The result is
// the very record that an unsplit scan writes: values of tokens one after the other, samples chosen
// anew among those of the parts. Fails, naming layer and part, where a record does not hold the
// tokens of its part, or differs in what every part measures on the probe.
LayerRecord MergeLayer(const ScanHeader& header, std::span<const LayerRecord> parts);

}  // namespace cacheready
