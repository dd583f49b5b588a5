// SPDX-License-Identifier: Apache-2.0
#include "model/weight_reader.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "formats/weight_parts.h"
#include "model/checkpoint_quantization.h"

namespace cacheready {

WeightReader::WeightReader(const Checkpoint& checkpoint, Mode mode)
    : checkpoint_(&checkpoint),
      mode_(mode),
      find_([&checkpoint](std::string_view name) { return checkpoint.FindTensor(name); }),
      quantization_(std::make_shared<QuantizationConfig>(ReadQuantization(checkpoint))) {}

WeightReader WeightReader::Recording(WeightUse& use) const {
  WeightReader recording = *this;
  recording.use_ = &use;
  recording.find_ = [checkpoint = checkpoint_, &use](std::string_view name) {
    const TensorView* found = checkpoint->FindTensor(name);
    if (found != nullptr) use.AddTensor(*found);
    return found;
  };
  return recording;
}

FormatRequest WeightReader::Request(const std::string& module, std::int64_t rows,
                                    std::int64_t cols) const {
  return {.module = module,
          .rows = rows,
          .cols = cols,
          .scheme = quantization_->FindScheme(module),
          .quant_method = quantization_->method};
}

EncodedMatrixPtr WeightReader::OpenChecked(const FormatRequest& request) const {
  const WeightParts parts(request, find_);
  const WeightFormat* format = FindWeightFormat(request, parts);
  if (format != nullptr && format->quantized) {
    RequireAgreement(*quantization_, request.module, format->name, parts.first().file);
  }
  return OpenWeight(request, parts);
}

EncodedMatrixPtr WeightReader::Open(const std::string& module, std::int64_t rows,
                                    std::int64_t cols) const {
  if (use_ != nullptr) use_->AddOutputs(rows);
  return OpenChecked(Request(module, rows, cols));
}

std::vector<std::int64_t> WeightReader::FindFusedShape(const std::string& tensor) const {
  return cacheready::FindFusedShape(Request(tensor, -1, -1), find_);
}

EncodedMatrixPtr WeightReader::OpenSlice(const std::string& tensor, const PlainSlice& slice) const {
  FormatRequest request = Request(tensor, -1, -1);
  request.slice = slice;
  return OpenChecked(request);
}

EncodedMatrixPtr WeightReader::OpenRouter(const std::string& module, std::int64_t experts,
                                          std::int64_t hidden) const {
  const FormatRequest request = Request(module, experts, hidden);
  if (use_ != nullptr) use_->AddOutputs(experts);
  const WeightFormat* format = FindWeightFormat(request, find_);
  if (format != nullptr && format->quantized) {
    Fail(
        "{}: the router '{}' is stored as {}: a quantized row cannot be rewritten alone, because "
        "its scales are shared or its codes packed; use a checkpoint whose gates are BF16, F16 or "
        "F32",
        checkpoint_->folder().string(), module, format->name);
  }
  return OpenWeight(request, find_);
}

std::vector<float> WeightReader::Values(const std::string& tensor,
                                        std::initializer_list<std::int64_t> shape) const {
  const TensorView* view = checkpoint_->FindTensor(tensor);
  if (view == nullptr) {
    Fail("{}: tensor '{}' is missing, expected shape {}", checkpoint_->folder().string(), tensor,
         ShapeText({shape.begin(), shape.size()}));
  }
  if (!std::equal(shape.begin(), shape.end(), view->shape.begin(), view->shape.end())) {
    Fail("{}: tensor '{}' has shape {}, expected {}", view->file, tensor, ShapeText(view->shape),
         ShapeText({shape.begin(), shape.size()}));
  }
  if (view->dtype != Dtype::kF32 && view->dtype != Dtype::kBF16 && view->dtype != Dtype::kF16) {
    Fail("{}: tensor '{}' has dtype {}, expected F32, BF16 or F16", view->file, tensor,
         DtypeName(view->dtype));
  }
  if (use_ != nullptr) use_->AddTensor(*view);
  if (mode_ == Mode::kCheck) {
    return std::vector<float>(static_cast<std::size_t>(view->NumElements()));
  }
  return ReadFloats(*view);
}

std::string FindPrefix(const Checkpoint& checkpoint,
                       std::initializer_list<std::string_view> prefixes, std::string_view tensor) {
  for (const std::string_view prefix : prefixes) {
    std::string name = std::string(prefix) + std::string(tensor);
    if (checkpoint.FindTensor(name) != nullptr) return std::string(prefix);
  }
  Fail("{}: no tensor '{}' below any of the prefixes '{}'", checkpoint.folder().string(), tensor,
       fmt::join(prefixes, "', '"));
}

}  // namespace cacheready
