// Where a checkpoint says how it is quantized.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "checkpoint/checkpoint.h"
#include "formats/quantization_config.h"

namespace cacheready {

// quantization_config of config.json or of its text part, else one of kQuantizationFiles, else an
// empty one. Fails as ParseQuantizationConfig does.
QuantizationConfig ReadQuantization(const Checkpoint& checkpoint);

}  // namespace cacheready
