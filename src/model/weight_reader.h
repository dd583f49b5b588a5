// Tensors of a module by name, with their shapes checked: how families reach the checkpoint.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "formats/encoded_matrix.h"
#include "formats/quantization_config.h"
#include "formats/weight_formats.h"
#include "model/weight_use.h"

namespace cacheready {

class WeightReader {
 public:
  // kCheck opens a layer from the headers alone: presence and shapes are checked, values are zeros.
  // So a description checks exactly what a run opens.
  enum class Mode { kCheck, kRead };

  // The checkpoint must outlive the reader and all it opened.
  WeightReader(const Checkpoint& checkpoint, Mode mode);

  // The same reader, telling `use` of each tensor that it opens or looks up as part of a weight.
  WeightReader Recording(WeightUse& use) const;

  const Checkpoint& checkpoint() const { return *checkpoint_; }
  // What the config says of how it is quantized.
  const QuantizationConfig& quantization() const { return *quantization_; }
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
  friend class ExpertScope;
  EncodedMatrixPtr OpenChecked(const FormatRequest& request) const;
  FormatRequest Request(const std::string& module, std::int64_t rows, std::int64_t cols) const;

  const Checkpoint* checkpoint_;
  Mode mode_;
  TensorFinder find_;
  std::shared_ptr<const QuantizationConfig> quantization_;  // shared with the recording readers
  WeightUse* use_ = nullptr;
};

// What is opened while this lives is told to be of one expert.
class ExpertScope {
 public:
  ExpertScope(const WeightReader& weights, std::int64_t expert) : use_(weights.use_) {
    if (use_ != nullptr) use_->EnterExpert(expert);
  }
  ~ExpertScope() {
    if (use_ != nullptr) use_->EnterExpert(-1);
  }
  ExpertScope(const ExpertScope&) = delete;
  ExpertScope& operator=(const ExpertScope&) = delete;

 private:
  WeightUse* use_;
};

// The first of `prefixes` below which `tensor` is stored. Fails naming what was looked for.
std::string FindPrefix(const Checkpoint& checkpoint,
                       std::initializer_list<std::string_view> prefixes, std::string_view tensor);

}  // namespace cacheready
