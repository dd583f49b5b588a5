// SPDX-License-Identifier: Apache-2.0
#include "formats/packed_integers.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "formats/decode_kernels.h"
#include "formats/scaled_matrix.h"

namespace cacheready {
namespace {

// What the config says of the module's weights, if it says that they are integers.
NumberScheme ToldIntegers(const FormatRequest& request) {
  const bool told = request.scheme != nullptr && request.scheme->weights.integer;
  return told ? request.scheme->weights : NumberScheme{};
}

std::string ColumnsText(const FormatRequest& request) {
  return request.cols < 0 ? "" : fmt::format(" of {} columns", request.cols);
}

}  // namespace

// Words are little-endian, so the lowest bits first means the first byte first.
void UnpackIntegers(const std::byte* bytes, std::int64_t count, int bits, float* out) {
  const DecodeKernels& kernels = ActiveDecodeKernels();
  if (bits == 8) return kernels.widen_bytes(bytes, count, out);
  CR_CHECK(bits == 4, "{} bits", bits);
  static constexpr std::array<float, 16> kValues = {0, 1, 2,  3,  4,  5,  6,  7,
                                                    8, 9, 10, 11, 12, 13, 14, 15};
  kernels.widen_nibbles(reinterpret_cast<const std::uint8_t*>(bytes), count, kValues.data(), out);
}

void SubtractZeros(std::span<const float> zeros, std::int64_t group_size,
                   std::span<const std::int32_t> group_of, std::span<float> row) {
  if (group_of.empty()) {
    const auto cols = static_cast<std::int64_t>(row.size());
    return ActiveDecodeKernels().subtract_blocks(zeros.data(), group_size, cols, row.data());
  }
  for (std::size_t c = 0; c < row.size(); ++c) {
    row[c] -= zeros[static_cast<std::size_t>(group_of[c])];
  }
}

int BitsOf(const FormatRequest& request, const WeightParts& parts,
           const std::function<bool(int bits)>& fits) {
  const int told = ToldIntegers(request).bits;
  if (told == 4 || told == 8) {
    if (fits(told)) return told;
    Fail("{}: the shapes of {} are not those of {} bits a weight{}", parts.first().file,
         parts.Text(), told, ColumnsText(request));
  }
  if (fits(4) != fits(8)) return fits(4) ? 4 : 8;
  Fail(
      "{}: the shapes of {} are those of {}{}: 4 and 8 bits are read, and the config has to tell "
      "where the shapes do not",
      parts.first().file, parts.Text(),
      fits(4) ? "4 and of 8 bits a weight"
              : "neither 4 nor 8 "
                "bits a weight",
      ColumnsText(request));
}

std::int64_t GroupSizeOf(const FormatRequest& request, const TensorView& scales,
                         std::int64_t groups, std::int64_t cols) {
  const std::int64_t told = ToldIntegers(request).block.cols;
  const bool fits = told > 0 ? groups == CeilDiv(cols, told) : groups >= 1 && cols % groups == 0;
  if (!fits) {
    Fail("{}: tensor '{}' {} has {} groups for {} columns{}", scales.file, scales.name,
         ShapeText(scales.shape), groups, cols,
         told > 0 ? fmt::format(", expected {} of {}", CeilDiv(cols, told), told) : "");
  }
  return told > 0 ? told : std::max<std::int64_t>(cols / groups, 1);
}

std::vector<std::int32_t> ReadGroupIndex(const TensorView& g_idx, std::int64_t groups,
                                         std::int64_t group_size) {
  const std::vector<std::int64_t> stored = ReadInts(g_idx);
  if (std::find(stored.begin(), stored.end(), -1) != stored.end()) {
    std::vector<std::int32_t> consecutive(stored.size());
    for (std::size_t c = 0; c < stored.size(); ++c) {
      consecutive[c] = static_cast<std::int32_t>(static_cast<std::int64_t>(c) / group_size);
    }
    return consecutive;
  }
  std::vector<std::int32_t> group_of;
  group_of.reserve(stored.size());
  for (std::size_t c = 0; c < stored.size(); ++c) {
    if (stored[c] < 0 || stored[c] >= groups) {
      Fail("{}: tensor '{}' puts column {} into group {}, and there are {}", g_idx.file, g_idx.name,
           c, stored[c], groups);
    }
    group_of.push_back(static_cast<std::int32_t>(stored[c]));
  }
  return group_of;
}

}  // namespace cacheready
