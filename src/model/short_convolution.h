// Gated short convolution, the mixer of LFM2: y = out(c * conv(b * u)) with b, c, u = in(x).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "model/mixer.h"
#include "model/weight_reader.h"

namespace cacheready {

struct ShortConvolutionSpec {
  std::int64_t hidden = 0;
  std::int64_t width = 3;  // tokens that the convolution sees
  bool bias = false;       // of both projections and the convolution
};

// Opens in_proj (rows b | c | u), conv and out_proj below `module`.
std::unique_ptr<Mixer> OpenShortConvolution(const WeightReader& weights, const std::string& module,
                                            const ShortConvolutionSpec& spec);

}  // namespace cacheready
