// E2M1 codes, two a byte, the even column in the low four bits: how every FP4 format packs them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace cacheready {

// [bytes] -> [2 * bytes]
void DecodeE2m1Pairs(const std::byte* pairs, std::int64_t bytes, float* out);

}  // namespace cacheready
