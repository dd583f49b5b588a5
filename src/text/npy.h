// Integer arrays in numpy's .npy format, versions 1 and 2.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace cacheready {

struct NpyIntegers {
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> values;  // row-major
};

bool IsNpy(std::span<const std::byte> bytes);

// Fails on anything but a little-endian integer array in C order that fills the file exactly;
// `file` names it in messages.
NpyIntegers ParseNpy(std::span<const std::byte> bytes, std::string_view file);

}  // namespace cacheready
