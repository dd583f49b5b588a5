// The dtypes of safetensors, as data.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace cacheready {

enum class Dtype : std::uint8_t {
  kBool,
  kF4,
  kF6E2M3,
  kF6E3M2,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kF8E8M0,
  kF8E4M3Fnuz,
  kF8E5M2Fnuz,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kC64,
  kF64,
  kI64,
  kU64,
};

int DtypeBits(Dtype dtype);
std::string_view DtypeName(Dtype dtype);  // as written in a safetensors header: "BF16", "F8_E4M3"
std::optional<Dtype> FindDtype(std::string_view name);  // case-sensitive

}  // namespace cacheready
