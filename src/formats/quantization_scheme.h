// How one weight matrix, and what it is multiplied with, is quantized according to the config.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "formats/encoded_matrix.h"

namespace cacheready {

// What shares one scale. A row is an output channel of a weight, a token of activations.
enum class ScaleSpan : std::uint8_t { kTensor, kRow, kGroup, kBlock };

struct NumberScheme {
  int bits = 16;         // 16: not quantized
  bool integer = false;  // else floating point: E4M3, E2M1
  bool dynamic = false;  // scales are computed while serving
  ScaleSpan span = ScaleSpan::kTensor;
  BlockShape block = {};  // of kBlock; of kGroup {1, columns}
  bool symmetric = true;  // else with zero points
  bool global = false;    // a second, static scale for the whole tensor (NVFP4)
};

struct QuantizationScheme {
  std::string format = {};  // how the names of the WeightFormats begin that fit: "fp8", "nvfp4"
  NumberScheme weights = {};
  NumberScheme activations = {};
  bool zeros_minus_one = false;  // GPTQ's first layout stores every zero point less 1
};

// "w8a8 dynamic per token 128 columns", "w8a8 static per tensor", "w4a16".
std::string SchemeText(const QuantizationScheme& scheme);

}  // namespace cacheready
