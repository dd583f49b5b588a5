// The inner loops of decoders, one table per instruction set, chosen at run time. All of them give
// the same bits. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "formats/decode_functions.h"

namespace cacheready {

struct DecodeKernels {
  std::string_view name;  // "portable", "avx2", "avx512"
  // `count` numbers, at any address.
  void (*widen_bf16)(const void* from, std::int64_t count, float* out);
  void (*widen_f16)(const void* from, std::int64_t count, float* out);  // NaN becomes quiet
  // E4M3 codes; the table holds the values of all 256.
  void (*widen_e4m3)(const std::uint8_t* codes, std::int64_t count, const float* table, float* out);
  // The same as bf16 bits.
  void (*e4m3_to_bf16)(const std::uint8_t* codes, std::int64_t count, const std::uint16_t* table,
                       std::uint16_t* out);
  // `count` codes of four bits, two a byte, the low four bits first; the table holds 16 values.
  void (*widen_nibbles)(const std::uint8_t* bytes, std::int64_t count, const float* table,
                        float* out);
  void (*widen_signed_bytes)(const void* from, std::int64_t count, float* out);
  void (*widen_bytes)(const void* from, std::int64_t count, float* out);
  // The unsigned integer of `bits` bits from bit `shift` on of each word.
  void (*widen_fields)(const std::uint32_t* words, std::int64_t count, int shift, int bits,
                       float* out);
  // row[c] *= by[c / block], row[c] -= by[c / block]
  void (*multiply_blocks)(const float* by, std::int64_t block, std::int64_t count, float* row);
  void (*subtract_blocks)(const float* by, std::int64_t block, std::int64_t count, float* row);
  // weights[c] += offset(stream, row, c) * step of the grid at weights[c], for one row: see
  // dither.h.
  void (*add_dither)(std::uint64_t stream, std::int64_t row, std::int64_t cols,
                     const DitherGrid& grid, float* weights);
};

std::span<const DecodeKernels> AvailableDecodeKernels();  // those this CPU runs; portable first
// The last of them, or those that SetDecodeKernels chose: the ones so named, or the last that are
// available where none has that name.
const DecodeKernels& ActiveDecodeKernels();
void SetDecodeKernels(std::string_view name);

}  // namespace cacheready
