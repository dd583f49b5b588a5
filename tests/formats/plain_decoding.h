// Quantized weights decoded one by one, straight from the formulas and without anything of
// src/formats: what whole quantized models are compared with.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace cacheready {

struct DecodedWeight {
  std::vector<std::int64_t> shape;  // [out, in]; [experts, out, in] of fused experts
  std::vector<float> values;
};

// The weight of a module as the quantizer of this name stored it. `names` become the tensors that
// it was stored in.
DecodedWeight DecodePlainly(const Checkpoint& checkpoint, std::string_view quantizer,
                            const std::string& module, std::vector<std::string>& names);

}  // namespace cacheready
