// A named array inside somebody else's bytes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"

namespace cacheready {

struct TensorView {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<std::int64_t> shape;   // row-major; [] is a scalar
  std::span<const std::byte> bytes;  // little-endian, unaligned. Valid while the owner lives
  std::string_view file;             // file name of its shard, for messages

  std::int64_t NumElements() const;
  // The rows that a plan can name: along the first dim; of [1, n], as a bias may be stored, the n
  // entries. 0 for a scalar.
  std::int64_t NumRows() const;
};

std::string ShapeText(std::span<const std::int64_t> shape);  // "[32, 256]"

// All elements widened to float (F32, BF16, F16, F64 rounded). Fails, naming file and tensor, for
// another dtype.
std::vector<float> ReadFloats(const TensorView& tensor);
// Elements [begin, begin + out.size()).
void ReadFloats(const TensorView& tensor, std::int64_t begin, std::span<float> out);
// Integers of I32, I64, U8, I8, U16, I16, U32.
std::vector<std::int64_t> ReadInts(const TensorView& tensor);

}  // namespace cacheready
