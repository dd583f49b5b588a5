// Random numbers that are fixed by version: counter-based, so a value depends on (seed, index)
// only, never on order.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace cacheready {

// SplitMix64's finalizer over a chain of words: a 64-bit hash of the tuple. Stable for ever.
std::uint64_t HashWords(std::initializer_list<std::uint64_t> words);
std::uint64_t HashText(std::uint64_t seed, std::string_view text);  // XXH3-64 with seed

// Value number `index` of the stream `seed`: uniform in [0,1) with 53 bits, or standard normal
// (Box-Muller on two).
double UniformAt(std::uint64_t seed, std::uint64_t index);
double NormalAt(std::uint64_t seed, std::uint64_t index);

// A sequential reader of such a stream.
class RandomStream {
 public:
  explicit RandomStream(std::uint64_t seed) : seed_(seed) {}
  std::uint64_t Next();
  double Uniform();
  double Normal();
  std::uint64_t Below(std::uint64_t bound);  // unbiased, in [0, bound)

 private:
  std::uint64_t seed_;
  std::uint64_t index_ = 0;
};

}  // namespace cacheready
