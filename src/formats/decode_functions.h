// What each instruction-set file of decoders defines. Plain types only: these files are compiled
// with flags that the rest of the program must not see, so they must not emit inline library code.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace cacheready {

// The grid of a number format: the step at a value is max(its binade, floor) * factor, but 0 at 0
// if zeros stay. The binade is the value's power of two, 0 for zeros and subnormal floats.
struct DitherGrid {
  float floor = 0;
  float factor = 0;
  bool zeros_stay = false;
};

}  // namespace cacheready

#define CACHEREADY_DECLARE_DECODERS(isa)                                                         \
  namespace isa {                                                                                \
  void WidenBf16(const void* from, std::int64_t count, float* out);                              \
  void WidenF16(const void* from, std::int64_t count, float* out);                               \
  void WidenE4m3(const std::uint8_t* codes, std::int64_t count, const float* table, float* out); \
  void E4m3ToBf16(const std::uint8_t* codes, std::int64_t count, const std::uint16_t* table,     \
                  std::uint16_t* out);                                                           \
  void WidenNibbles(const std::uint8_t* bytes, std::int64_t count, const float* table,           \
                    float* out);                                                                 \
  void WidenSignedBytes(const void* from, std::int64_t count, float* out);                       \
  void WidenBytes(const void* from, std::int64_t count, float* out);                             \
  void WidenFields(const std::uint32_t* words, std::int64_t count, int shift, int bits,          \
                   float* out);                                                                  \
  void MultiplyBlocks(const float* by, std::int64_t block, std::int64_t count, float* row);      \
  void SubtractBlocks(const float* by, std::int64_t block, std::int64_t count, float* row);      \
  void AddDither(std::uint64_t stream, std::int64_t row, std::int64_t cols,                      \
                 const DitherGrid& grid, float* weights);                                        \
  }

namespace cacheready {

CACHEREADY_DECLARE_DECODERS(portable)
CACHEREADY_DECLARE_DECODERS(avx2)
CACHEREADY_DECLARE_DECODERS(avx512)

}  // namespace cacheready
