// SPDX-License-Identifier: Apache-2.0
#include "synth/stored_floats.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/random.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

template <typename Stored, typename Encode>
std::vector<std::byte> EncodeAll(std::span<const float> values, Encode encode) {
  std::vector<std::byte> bytes(values.size() * sizeof(Stored));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Stored stored = encode(values[i]);
    std::memcpy(bytes.data() + i * sizeof(Stored), &stored, sizeof(Stored));
  }
  return bytes;
}

template <typename Stored, typename Decode>
std::vector<float> DecodeAllOf(std::span<const std::byte> bytes, Decode decode) {
  std::vector<float> values(bytes.size() / sizeof(Stored));
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    values[i] = decode(stored);
  }
  return values;
}

double Norm(std::span<const float> values) {
  double sum = 0;
  for (float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum);
}

}  // namespace

std::vector<std::byte> StoreFloats(std::span<const float> values, Dtype dtype) {
  switch (dtype) {
    case Dtype::kBF16:
      return EncodeAll<std::uint16_t>(values, FloatToBf16);
    case Dtype::kF16:
      return EncodeAll<std::uint16_t>(values, FloatToF16);
    case Dtype::kF32:
      return EncodeAll<float>(values, [](float value) { return value; });
    default:
      Fail("weights are stored as BF16, F16 or F32 here, found {}", DtypeName(dtype));
  }
}

std::vector<float> LoadFloats(std::span<const std::byte> bytes, Dtype dtype) {
  switch (dtype) {
    case Dtype::kBF16:
      return DecodeAllOf<std::uint16_t>(bytes, Bf16ToFloat);
    case Dtype::kF16:
      return DecodeAllOf<std::uint16_t>(bytes, F16ToFloat);
    case Dtype::kF32:
      return DecodeAllOf<float>(bytes, [](float value) { return value; });
    default:
      Fail("weights are stored as BF16, F16 or F32 here, found {}", DtypeName(dtype));
  }
}

void AddGaussianNoise(double relative, std::uint64_t seed, std::span<float> values) {
  double squares = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double normal = NormalAt(seed, i);
    squares += normal * normal;
  }
  if (squares == 0 || relative == 0) return;
  const double step = relative * Norm(values) / std::sqrt(squares);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(static_cast<double>(values[i]) + step * NormalAt(seed, i));
  }
}

}  // namespace cacheready
