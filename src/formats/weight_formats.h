// The table of storage formats: which tensors beside a module path make up its weight matrix.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/encoded_matrix.h"
#include "formats/quantization_scheme.h"

namespace cacheready {

// Finds a tensor by full name, or returns nullptr. The checkpoint passes its own.
using TensorFinder = std::function<const TensorView*(std::string_view name)>;

struct FormatRequest {
  std::string
      module;  // "model.layers.0.mlp.experts.3.up_proj"; the tensor is module + ".weight" etc.
  std::int64_t rows = -1;  // expected [out, in], checked; -1 = whatever is stored
  std::int64_t cols = -1;
  // One expert of a fused weight, whose tensors are called `module` alone (plain), `module`_blocks
  // and `module`_scales, ...: without the dot of a module.
  std::optional<PlainSlice> slice = {};
  // What the config says of the module, nullptr if nothing: the rest of what a format needs to
  // know, and what its tensors are checked against.
  const QuantizationScheme* scheme = nullptr;
  std::string quant_method = {};  // "", "fp8", "modelopt", "compressed-tensors", ...
};

class WeightParts;

// One line of the table: recognizes its tensors beside the module (by names and dtypes) and opens
// them.
struct WeightFormat {
  std::string_view name;
  bool quantized;
  bool (*recognize)(const FormatRequest& request, const WeightParts& parts);
  EncodedMatrixPtr (*open)(const FormatRequest& request, const WeightParts& parts);
};
std::span<const WeightFormat> WeightFormats();

// The format of this module, or nullptr if no tensor of it is there at all. Fails (naming tensor,
// dtype, and the formats known) if tensors are there that no format recognizes, or two formats do.
const WeightFormat* FindWeightFormat(const FormatRequest& request, const TensorFinder& find);
// Names of the tensors that make it up; empty if it is not there.
std::vector<std::string> WeightTensorNames(const FormatRequest& request, const TensorFinder& find);
// [experts, height, width] of a fused weight as it is stored, codes counted one by one; empty if no
// tensor of it is there. Reads request.module only.
std::vector<std::int64_t> FindFusedShape(const FormatRequest& request, const TensorFinder& find);
// Opens it. Fails if absent. Reads no data: what is wrong with values shows when rows are decoded.
EncodedMatrixPtr OpenWeight(const FormatRequest& request, const TensorFinder& find);
// The same for parts that were looked up already.
const WeightFormat* FindWeightFormat(const FormatRequest& request, const WeightParts& parts);
EncodedMatrixPtr OpenWeight(const FormatRequest& request, const WeightParts& parts);

}  // namespace cacheready
