// The header of one safetensors file, read more strictly than the reference does
// (docs/formats/safetensors.md).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/dtype.h"

namespace cacheready {

struct TensorEntry {
  std::string name;  // after unescaping
  Dtype dtype = Dtype::kF32;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;  // bytes, relative to the data section
  std::uint64_t end = 0;
};

struct SafetensorsHeader {
  std::uint64_t data_begin = 0;      // 8 + header length
  std::vector<TensorEntry> tensors;  // ordered by (begin, end, header order)
  std::vector<std::pair<std::string, std::string>> metadata;  // __metadata__, in header order
};

// `prefix` is the start of the file (at least the whole header), `file_size` its full size:
// header-only reading needs no more. `file` names it in messages. Fails on every rule of
// docs/formats/safetensors.md, incl. holes, overlaps, duplicate names after unescaping, trailing
// bytes, a git-LFS pointer.
SafetensorsHeader ParseSafetensorsHeader(std::span<const std::byte> prefix, std::uint64_t file_size,
                                         std::string_view file);

// The bytes of a whole small safetensors file, tensors laid out in the given order (tests, records,
// deltas, forward's output).
struct NamedTensor {
  std::string name;
  Dtype dtype;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};
std::vector<std::byte> SerializeSafetensors(
    std::span<const NamedTensor> tensors,
    std::span<const std::pair<std::string, std::string>> metadata = {});

}  // namespace cacheready
