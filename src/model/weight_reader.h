// Tensors of a module by name, with their shapes checked: how families reach the checkpoint.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "formats/encoded_matrix.h"
#include "formats/quantization_config.h"
#include "formats/weight_formats.h"

namespace cacheready {

class WeightReader {
 public:
  // kCheck opens a layer from the headers alone: presence and shapes are checked, values are zeros.
  // So a description checks exactly what a run opens.
  enum class Mode { kCheck, kRead };

  // The checkpoint must outlive the reader and all it opened.
  WeightReader(const Checkpoint& checkpoint, Mode mode);

  const Checkpoint& checkpoint() const { return *checkpoint_; }
  // What the config says of how it is quantized.
  const QuantizationConfig& quantization() const { return quantization_; }
  bool Has(std::string_view tensor) const { return checkpoint_->FindTensor(tensor) != nullptr; }

  // The weight [rows, cols] of a module in whatever format it is stored. Fails if absent.
  EncodedMatrixPtr Open(const std::string& module, std::int64_t rows, std::int64_t cols) const;
  // A weight of all experts stored together as `tensor`, plain or quantized: its shape [experts,
  // height, width], empty if it is not there; and rows of one expert of it.
  std::vector<std::int64_t> FindFusedShape(const std::string& tensor) const;
  EncodedMatrixPtr OpenSlice(const std::string& tensor, const PlainSlice& slice) const;
  // The same as Open, refused if it is quantized: router rows are rewritten as they are stored, and
  // a row whose scale is shared with other rows cannot be.
  EncodedMatrixPtr OpenRouter(const std::string& module, std::int64_t experts,
                              std::int64_t hidden) const;
  // A plain tensor of exactly this shape, widened to float.
  std::vector<float> Values(const std::string& tensor,
                            std::initializer_list<std::int64_t> shape) const;

 private:
  EncodedMatrixPtr OpenChecked(const FormatRequest& request) const;
  FormatRequest Request(const std::string& module, std::int64_t rows, std::int64_t cols) const;

  const Checkpoint* checkpoint_;
  Mode mode_;
  TensorFinder find_;
  QuantizationConfig quantization_;
};

// The first of `prefixes` below which `tensor` is stored. Fails naming what was looked for.
std::string FindPrefix(const Checkpoint& checkpoint,
                       std::initializer_list<std::string_view> prefixes, std::string_view tensor);

}  // namespace cacheready
