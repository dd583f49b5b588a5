// For tests: tensors by name, in memory.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "formats/weight_formats.h"

namespace cacheready {

class FakeCheckpoint {
 public:
  // Zeros.
  void Add(const std::string& name, Dtype dtype, std::vector<std::int64_t> shape) {
    Stored& stored = tensors_[name];
    stored.view = {name, dtype, std::move(shape), {}, "shard.safetensors"};
    stored.bytes.assign(static_cast<std::size_t>(stored.view.NumElements() * DtypeBits(dtype) / 8),
                        std::byte{0});
    stored.view.bytes = stored.bytes;
  }
  template <typename Bits>
  void Add(const std::string& name, Dtype dtype, std::vector<std::int64_t> shape,
           const std::vector<Bits>& values) {
    Add(name, dtype, std::move(shape));
    std::memcpy(tensors_[name].bytes.data(), values.data(), values.size() * sizeof(Bits));
  }
  void Remove(const std::string& name) { tensors_.erase(name); }

  TensorFinder finder() const {
    return [this](std::string_view name) -> const TensorView* {
      const auto found = tensors_.find(std::string(name));
      return found == tensors_.end() ? nullptr : &found->second.view;
    };
  }

 private:
  struct Stored {
    std::vector<std::byte> bytes;
    TensorView view;
  };
  std::map<std::string, Stored> tensors_;
};

}  // namespace cacheready
