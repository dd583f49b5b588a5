// AVX2 with F16C. SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "formats/decode_functions.h"

namespace cacheready::avx2 {

constexpr int kLanes = 8;
#include "formats/decode_loops.inc"

namespace {

// E4M3 laid into F16 (one bit more of exponent) is the value times 2^-8, subnormals included.
void StoreE4m3(__m128i codes, float* out) {
  const __m256i words = _mm256_slli_epi16(_mm256_cvtepu8_epi16(codes), 8);
  const __m256i halves =
      _mm256_and_si256(_mm256_srai_epi16(words, 1), _mm256_set1_epi16(static_cast<short>(0xBFFF)));
  const __m256 factor = _mm256_set1_ps(256.0f);
  const __m256 low = _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
  const __m256 high = _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1));
  _mm256_storeu_ps(out, _mm256_mul_ps(low, factor));
  _mm256_storeu_ps(out + 8, _mm256_mul_ps(high, factor));
}

// The entry of a table of 16, in two registers, that the low four bits of each lane name.
__m256 LookUp(__m256 first, __m256 second, __m256i index) {
  return _mm256_blendv_ps(_mm256_permutevar8x32_ps(first, index),
                          _mm256_permutevar8x32_ps(second, index),
                          _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
}

}  // namespace

void WidenE4m3(const std::uint8_t* codes, std::int64_t count, const float* table, float* out) {
  const __m256i sign = _mm256_set1_epi8(static_cast<char>(0x80));
  std::int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    const __m256i block = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + i));
    const __m256i is_nan = _mm256_cmpeq_epi8(_mm256_or_si256(block, sign), _mm256_set1_epi8(-1));
    if (_mm256_movemask_epi8(is_nan) != 0) {  // F16 has numbers there
      LookUpBytes(codes + i, 32, table, out + i);
      continue;
    }
    StoreE4m3(_mm256_castsi256_si128(block), out + i);
    StoreE4m3(_mm256_extracti128_si256(block, 1), out + i + 16);
  }
  LookUpBytes(codes + i, count - i, table, out + i);
}

void E4m3ToBf16(const std::uint8_t* codes, std::int64_t count, const std::uint16_t* table,
                std::uint16_t* out) {
  LookUpBytes(codes, count, table, out);
}

void WidenF16(const void* from, std::int64_t count, float* out) {
  const char* bytes = static_cast<const char*>(from);
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm256_storeu_ps(
        out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + 2 * i))));
  }
  for (; i < count; ++i) {
    std::uint16_t bits;
    __builtin_memcpy(&bits, bytes + 2 * i, sizeof bits);
    out[i] = _cvtsh_ss(bits);
  }
}

void WidenNibbles(const std::uint8_t* bytes, std::int64_t count, const float* table, float* out) {
  const __m256 first = _mm256_loadu_ps(table), second = _mm256_loadu_ps(table + 8);
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m256i index =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes + i / 2)));
    const __m256 even = LookUp(first, second, index);
    const __m256 odd = LookUp(first, second, _mm256_srli_epi32(index, 4));
    const __m256 low = _mm256_unpacklo_ps(even, odd), high = _mm256_unpackhi_ps(even, odd);
    _mm256_storeu_ps(out + i, _mm256_permute2f128_ps(low, high, 0x20));
    _mm256_storeu_ps(out + i + 8, _mm256_permute2f128_ps(low, high, 0x31));
  }
  LookUpNibbles(bytes + i / 2, count - i, table, out + i);
}

}  // namespace cacheready::avx2
