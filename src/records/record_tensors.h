// Typed arrays in and out of one safetensors file: what layer records are made of.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "checkpoint/safetensors_header.h"
#include "io/mapped_file.h"
#include "tensor/dtype.h"
#include "tensor/tensor_view.h"

namespace cacheready {

template <typename T>
inline constexpr Dtype kDtypeOf = Dtype::kU8;
template <>
inline constexpr Dtype kDtypeOf<float> = Dtype::kF32;
template <>
inline constexpr Dtype kDtypeOf<double> = Dtype::kF64;
template <>
inline constexpr Dtype kDtypeOf<std::int32_t> = Dtype::kI32;
template <>
inline constexpr Dtype kDtypeOf<std::int64_t> = Dtype::kI64;

// Collects arrays, then publishes them in the order given. Arrays must outlive the collection.
class RecordTensors {
 public:
  template <typename T>
  void Add(const std::string& name, const std::vector<std::int64_t>& shape,
           std::span<const T> values) {
    AddBytes(name, kDtypeOf<T>, shape, std::as_bytes(values));
  }
  void AddBytes(std::string name, Dtype dtype, std::vector<std::int64_t> shape,
                std::span<const std::byte> bytes);
  // `metadata` is one JSON text under the key "record".
  void Publish(const std::filesystem::path& path, const std::string& metadata) const;

 private:
  std::vector<NamedTensor> tensors_;
};

// Reads such a file. Every Get Fails, naming file and tensor, unless dtype and shape are the
// expected ones; an extent of -1 takes what is stored.
class RecordFile {
 public:
  explicit RecordFile(const std::filesystem::path& path);

  const std::string& name() const { return name_; }
  const std::string& metadata() const { return metadata_; }
  std::span<const std::byte> GetBytes(std::string_view tensor, Dtype dtype,
                                      std::vector<std::int64_t> shape) const;
  template <typename T>
  std::vector<T> Get(std::string_view tensor, const std::vector<std::int64_t>& shape) const {
    const std::span<const std::byte> bytes = GetBytes(tensor, kDtypeOf<T>, shape);
    std::vector<T> values(bytes.size() / sizeof(T));
    if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  std::vector<std::int64_t> ShapeOf(std::string_view tensor) const;

 private:
  const TensorEntry& Entry(std::string_view tensor) const;

  MappedFile file_;
  std::string name_;
  SafetensorsHeader header_;
  std::string metadata_;
};

}  // namespace cacheready
