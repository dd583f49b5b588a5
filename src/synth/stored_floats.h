// Floats in and out of the plain dtypes in which synthetic weights are stored.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "tensor/dtype.h"

namespace cacheready {

// Little-endian BF16, F16 or F32 bytes of `values`, rounded to nearest even. Fails for another
// dtype.
std::vector<std::byte> StoreFloats(std::span<const float> values, Dtype dtype);
// The inverse. Requires bytes.size() to be a multiple of the element size.
std::vector<float> LoadFloats(std::span<const std::byte> bytes, Dtype dtype);

// Adds seeded Gaussian noise whose norm is exactly `relative` x the norm of `values` (before
// rounding): the direction depends on the seed only, so a larger `relative` goes farther along it.
void AddGaussianNoise(double relative, std::uint64_t seed, std::span<float> values);

}  // namespace cacheready
