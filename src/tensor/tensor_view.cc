// SPDX-License-Identifier: Apache-2.0
#include "tensor/tensor_view.h"

#include <bit>
#include <cstring>

#include "base/error.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are read as little-endian");

template <typename T>
T Load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <typename Stored, typename Out, typename Convert>
void ReadElements(const TensorView& tensor, std::int64_t begin, std::span<Out> out,
                  Convert convert) {
  const std::byte* at = tensor.bytes.data() + static_cast<std::size_t>(begin) * sizeof(Stored);
  for (Out& value : out) {
    value = convert(Load<Stored>(at));
    at += sizeof(Stored);
  }
}

template <typename Stored>
void ReadIntegers(const TensorView& tensor, std::span<std::int64_t> out) {
  ReadElements<Stored>(tensor, 0, out, [](Stored v) { return static_cast<std::int64_t>(v); });
}

[[noreturn]] void FailDtype(const TensorView& tensor, std::string_view expected) {
  Fail("{}: tensor '{}' {} is {}, expected {}", tensor.file, tensor.name, ShapeText(tensor.shape),
       DtypeName(tensor.dtype), expected);
}

void CheckSize(const TensorView& tensor) {
  const auto bits = static_cast<std::uint64_t>(tensor.NumElements()) *
                    static_cast<std::uint64_t>(DtypeBits(tensor.dtype));
  CR_CHECK(bits == tensor.bytes.size() * 8, "tensor '{}' {} {} has {} bytes", tensor.name,
           DtypeName(tensor.dtype), ShapeText(tensor.shape), tensor.bytes.size());
}

}  // namespace

std::int64_t TensorView::NumElements() const {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  return count;
}

std::int64_t TensorView::NumRows() const {
  if (shape.empty()) return 0;
  return shape.size() == 2 && shape[0] == 1 ? shape[1] : shape[0];
}

std::string ShapeText(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

void ReadFloats(const TensorView& tensor, std::int64_t begin, std::span<float> out) {
  CheckSize(tensor);
  CR_CHECK(begin >= 0 && begin + static_cast<std::int64_t>(out.size()) <= tensor.NumElements(),
           "elements {} + {} of '{}' {}", begin, out.size(), tensor.name, ShapeText(tensor.shape));
  switch (tensor.dtype) {
    case Dtype::kF32:
      return ReadElements<float>(tensor, begin, out, [](float v) { return v; });
    case Dtype::kBF16:
      return ReadElements<std::uint16_t>(tensor, begin, out, Bf16ToFloat);
    case Dtype::kF16:
      return ReadElements<std::uint16_t>(tensor, begin, out, F16ToFloat);
    case Dtype::kF64:
      return ReadElements<double>(tensor, begin, out,
                                  [](double v) { return static_cast<float>(v); });
    default:
      FailDtype(tensor, "F32, BF16, F16 or F64");
  }
}

std::vector<float> ReadFloats(const TensorView& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.NumElements()));
  ReadFloats(tensor, 0, values);
  return values;
}

std::vector<std::int64_t> ReadInts(const TensorView& tensor) {
  CheckSize(tensor);
  std::vector<std::int64_t> values(static_cast<std::size_t>(tensor.NumElements()));
  switch (tensor.dtype) {
    case Dtype::kI64:
      ReadIntegers<std::int64_t>(tensor, values);
      break;
    case Dtype::kI32:
      ReadIntegers<std::int32_t>(tensor, values);
      break;
    case Dtype::kU32:
      ReadIntegers<std::uint32_t>(tensor, values);
      break;
    case Dtype::kI16:
      ReadIntegers<std::int16_t>(tensor, values);
      break;
    case Dtype::kU16:
      ReadIntegers<std::uint16_t>(tensor, values);
      break;
    case Dtype::kI8:
      ReadIntegers<std::int8_t>(tensor, values);
      break;
    case Dtype::kU8:
      ReadIntegers<std::uint8_t>(tensor, values);
      break;
    default:
      FailDtype(tensor, "I64, I32, U32, I16, U16, I8 or U8");
  }
  return values;
}

}  // namespace cacheready
