// Quantizers that round to nearest, in the layouts in which people publish: for tests and
// demonstrations, not for serving.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tensor/dtype.h"
#include "tensor/matrix.h"

namespace cacheready {

// A tensor beside a module: its name is the module's and `suffix` (".weight_scale").
struct QuantizedPart {
  std::string suffix;
  Dtype dtype = Dtype::kU8;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;
};

struct Quantizer {
  std::string_view name;
  std::vector<QuantizedPart> (*quantize)(const Matrix& weights);  // [out, in]
  Json (*config)();    // the quantization_config that goes with it, for experts only
  bool fused = false;  // parts of all experts are stored behind each other, as gpt-oss does
};
std::span<const Quantizer> Quantizers();
const Quantizer& GetQuantizer(std::string_view name);  // Fails listing the names

// Lines of the table, by file. Blocks: 16 rows x 32 columns; groups: what the format has, else 16.
std::vector<QuantizedPart> QuantizeFp8Block(const Matrix& weights);
std::vector<QuantizedPart> QuantizeFp8Channel(const Matrix& weights);
std::vector<QuantizedPart> QuantizeFp8Tensor(const Matrix& weights);
std::vector<QuantizedPart> QuantizeMxfp8(const Matrix& weights);
std::vector<QuantizedPart> QuantizeInt8(const Matrix& weights);
std::vector<QuantizedPart> QuantizeNvfp4(const Matrix& weights);        // modelopt
std::vector<QuantizedPart> QuantizeNvfp4Packed(const Matrix& weights);  // compressed-tensors
std::vector<QuantizedPart> QuantizeMxfp4Packed(const Matrix& weights);
std::vector<QuantizedPart> QuantizeMxfp4Blocks(const Matrix& weights);  // gpt-oss, of one expert

std::vector<QuantizedPart> QuantizePacked4(const Matrix& weights);
std::vector<QuantizedPart> QuantizePacked4Zeros(const Matrix& weights);
std::vector<QuantizedPart> QuantizePacked8(const Matrix& weights);
std::vector<QuantizedPart> QuantizeGptq(const Matrix& weights);         // first layout
std::vector<QuantizedPart> QuantizeGptqOrdered(const Matrix& weights);  // second, with g_idx
std::vector<QuantizedPart> QuantizeGptq8(const Matrix& weights);
std::vector<QuantizedPart> QuantizeAwq(const Matrix& weights);

}  // namespace cacheready
