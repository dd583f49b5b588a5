// A safetensors file read whole, for tests: tensors by name as floats or integers.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/mapped_file.h"
#include "tensor/matrix.h"
#include "tensor/tensor_view.h"

namespace cacheready {

class SafetensorsContents {
 public:
  explicit SafetensorsContents(const std::filesystem::path& path);

  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  bool Has(const std::string& name) const { return tensors_.contains(name); }
  const TensorView& Get(const std::string& name) const;  // Fails if absent
  // [..., cols] as a matrix of all leading dims x cols.
  Matrix Floats(const std::string& name) const;
  std::vector<std::int32_t> Ids(const std::string& name) const;

 private:
  MappedFile file_;
  std::string file_name_;
  std::map<std::string, TensorView> tensors_;
};

}  // namespace cacheready
