// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cmath>

#include "base/error.h"
#include "base/math.h"

namespace cacheready {
namespace {

constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15u;
constexpr double kTwoPi = 6.28318530717958647692;

std::uint64_t Mix(std::uint64_t z) {  // SplitMix64's finalizer
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

std::uint64_t Chain(std::uint64_t state, std::uint64_t word) {
  return Mix((state ^ word) + kGolden);
}

double ToUniform(std::uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }

}  // namespace

std::uint64_t HashWords(std::initializer_list<std::uint64_t> words) {
  std::uint64_t state = 0;
  for (const std::uint64_t word : words) state = Chain(state, word);
  return state;
}

std::uint64_t HashText(std::uint64_t seed, std::string_view text) {
  return XXH3_64bits_withSeed(text.data(), text.size(), seed);
}

double UniformAt(std::uint64_t seed, std::uint64_t index) {
  return ToUniform(HashWords({seed, index}));
}

double NormalAt(std::uint64_t seed, std::uint64_t index) {
  const std::uint64_t pair = HashWords({seed, index});
  const double radius = ToUniform(Chain(pair, 0)) + 0x1p-53;  // in (0, 1]: its logarithm exists
  const double angle = ToUniform(Chain(pair, 1));
  return std::sqrt(-2.0 * Log(radius)) * Cos(kTwoPi * angle);
}

std::uint64_t RandomStream::Next() { return HashWords({seed_, index_++}); }

double RandomStream::Uniform() { return UniformAt(seed_, index_++); }

double RandomStream::Normal() { return NormalAt(seed_, index_++); }

std::uint64_t RandomStream::Below(std::uint64_t bound) {
  CR_CHECK(bound > 0, "an empty range has no element");
  // Lemire 2019: the high word of a 128-bit product; low words below 2^64 mod bound are redrawn.
  auto product = static_cast<unsigned __int128>(Next()) * bound;
  if (static_cast<std::uint64_t>(product) < bound) {
    const std::uint64_t threshold = (0 - bound) % bound;
    while (static_cast<std::uint64_t>(product) < threshold) {
      product = static_cast<unsigned __int128>(Next()) * bound;
    }
  }
  return static_cast<std::uint64_t>(product >> 64);
}

}  // namespace cacheready
