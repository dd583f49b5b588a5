// SPDX-License-Identifier: Apache-2.0
#include "support/safetensors_contents.h"

#include <algorithm>

#include "base/error.h"
#include "checkpoint/safetensors_header.h"

namespace cacheready {

SafetensorsContents::SafetensorsContents(const std::filesystem::path& path)
    : file_(path), file_name_(path.string()) {
  const std::span<const std::byte> bytes = file_.bytes();
  const SafetensorsHeader header = ParseSafetensorsHeader(bytes, bytes.size(), file_name_);
  for (const TensorEntry& entry : header.tensors) {
    tensors_[entry.name] = {
        .name = entry.name,
        .dtype = entry.dtype,
        .shape = entry.shape,
        .bytes = bytes.subspan(header.data_begin + entry.begin, entry.end - entry.begin),
        .file = file_name_};
  }
}

const TensorView& SafetensorsContents::Get(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) Fail("{}: no tensor '{}'", file_name_, name);
  return found->second;
}

Matrix SafetensorsContents::Floats(const std::string& name) const {
  const TensorView& tensor = Get(name);
  const std::vector<float> values = ReadFloats(tensor);
  const std::int64_t cols = tensor.shape.empty() ? 1 : tensor.shape.back();
  Matrix matrix(tensor.NumElements() / cols, cols);
  std::copy(values.begin(), values.end(), matrix.values().begin());
  return matrix;
}

std::vector<std::int32_t> SafetensorsContents::Ids(const std::string& name) const {
  std::vector<std::int32_t> ids;
  for (const std::int64_t id : ReadInts(Get(name))) ids.push_back(static_cast<std::int32_t>(id));
  return ids;
}

}  // namespace cacheready
