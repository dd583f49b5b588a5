// Offsets for "another rounding of the same weights" (DecodeKernels::add_dither): an offset is an
// odd multiple of 2^-17, uniform over the open interval (-1/2, 1/2) and symmetric about 0. They are
// counter-based, so a weight's does not depend on which rows are decoded together.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "formats/decode_functions.h"

namespace cacheready {

// The step is the distance of neighbours in a value's own binade.
inline constexpr DitherGrid kBf16Grid = {0.0f, 0x1p-7f};
inline constexpr DitherGrid kF16Grid = {0x1p-14f, 0x1p-10f, true};  // subnormals: 2^-24
inline constexpr DitherGrid kE4m3Grid = {0x1p-6f, 0x1p-3f};         // subnormals: 2^-9
inline constexpr DitherGrid kE2m1Grid = {1.0f, 0.5f};
// The same step everywhere below 2^61.
constexpr DitherGrid EvenGrid(float step) { return {0x1p60f, step * 0x1p-60f}; }
inline constexpr DitherGrid kIntegerGrid = EvenGrid(1.0f);

}  // namespace cacheready
