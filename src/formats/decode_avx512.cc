// AVX-512 (F, BW, DQ, VL). SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "formats/decode_functions.h"

namespace cacheready::avx512 {

constexpr int kLanes = 16;
#include "formats/decode_loops.inc"

namespace {

// E4M3 laid into F16 (one bit more of exponent) is the value times 2^-8, subnormals included.
void StoreE4m3(__m256i codes, float* out) {
  const __m512i words = _mm512_slli_epi16(_mm512_cvtepu8_epi16(codes), 8);
  const __m512i halves =
      _mm512_and_si512(_mm512_srai_epi16(words, 1), _mm512_set1_epi16(static_cast<short>(0xBFFF)));
  const __m512 factor = _mm512_set1_ps(256.0f);
  const __m512 low = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
  const __m512 high = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1));
  _mm512_storeu_ps(out, _mm512_mul_ps(low, factor));
  _mm512_storeu_ps(out + 16, _mm512_mul_ps(high, factor));
}

// 32 codes, none a NaN. The exponent of bf16 is 120 more; a subnormal m 2^-9 is looked up, the low
// byte of its bf16 at m and the high one at m + 8.
void StoreE4m3AsBf16(__m256i codes, std::uint16_t* out) {
  const __m512i words = _mm512_cvtepu8_epi16(codes);
  const __m512i high = _mm512_slli_epi16(words, 8);
  const __m512i magnitude = _mm512_and_si512(words, _mm512_set1_epi16(0x7F));
  const __m512i normal =
      _mm512_add_epi16(_mm512_slli_epi16(magnitude, 4), _mm512_set1_epi16(120 << 7));
  const __m512i subnormals = _mm512_broadcast_i32x4(
      _mm_setr_epi8(0, 0, static_cast<char>(0x80), static_cast<char>(0xC0), 0, 0x20, 0x40, 0x60, 0,
                    0x3B, 0x3B, 0x3B, 0x3C, 0x3C, 0x3C, 0x3C));
  const __m512i places = _mm512_or_si512(
      _mm512_or_si512(magnitude, _mm512_slli_epi16(magnitude, 8)), _mm512_set1_epi16(0x0800));
  const __mmask32 is_subnormal = _mm512_cmplt_epu16_mask(magnitude, _mm512_set1_epi16(8));
  const __m512i value =
      _mm512_mask_blend_epi16(is_subnormal, normal, _mm512_shuffle_epi8(subnormals, places));
  const __m512i sign = _mm512_and_si512(high, _mm512_set1_epi16(static_cast<short>(0x8000)));
  _mm512_storeu_si512(out, _mm512_or_si512(value, sign));
}

// Calls store(32 codes, place) for all but the tail and for where there is a NaN; those are looked
// up.
template <typename Value, typename Store>
void ForEachE4m3(const std::uint8_t* codes, std::int64_t count, const Value* table, Value* out,
                 Store store) {
  const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));
  std::int64_t i = 0;
  for (; i + 64 <= count; i += 64) {
    const __m512i block = _mm512_loadu_si512(codes + i);
    if (_mm512_cmpeq_epi8_mask(_mm512_or_si512(block, sign), _mm512_set1_epi8(-1)) != 0) {
      LookUpBytes(codes + i, 64, table, out + i);
      continue;
    }
    store(_mm512_castsi512_si256(block), out + i);
    store(_mm512_extracti64x4_epi64(block, 1), out + i + 32);
  }
  LookUpBytes(codes + i, count - i, table, out + i);
}

}  // namespace

void WidenE4m3(const std::uint8_t* codes, std::int64_t count, const float* table, float* out) {
  ForEachE4m3(codes, count, table, out, StoreE4m3);  // F16 has numbers where E4M3 has NaN
}

void E4m3ToBf16(const std::uint8_t* codes, std::int64_t count, const std::uint16_t* table,
                std::uint16_t* out) {
  ForEachE4m3(codes, count, table, out, StoreE4m3AsBf16);
}

void WidenF16(const void* from, std::int64_t count, float* out) {
  const char* bytes = static_cast<const char*>(from);
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    _mm512_storeu_ps(
        out + i,
        _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + 2 * i))));
  }
  for (; i < count; ++i) {
    std::uint16_t bits;
    __builtin_memcpy(&bits, bytes + 2 * i, sizeof bits);
    out[i] = _cvtsh_ss(bits);
  }
}

void WidenNibbles(const std::uint8_t* bytes, std::int64_t count, const float* table, float* out) {
  const __m512 values = _mm512_loadu_ps(table);
  const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
  std::int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    // A permutation looks at the low four bits of an index only.
    const __m512i index =
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + i / 2)));
    const __m512 even = _mm512_permutexvar_ps(index, values);
    const __m512 odd = _mm512_permutexvar_ps(_mm512_srli_epi32(index, 4), values);
    _mm512_storeu_ps(out + i, _mm512_permutex2var_ps(even, first, odd));
    _mm512_storeu_ps(out + i + 16, _mm512_permutex2var_ps(even, second, odd));
  }
  LookUpNibbles(bytes + i / 2, count - i, table, out + i);
}

}  // namespace cacheready::avx512
