// BF16, F16 and F32 weights, stored as they are meant: 2-D, or one slice of a 3-D tensor of
// experts. SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <cstring>

#include "base/error.h"
#include "base/random.h"
#include "formats/decode_kernels.h"
#include "formats/dither.h"
#include "formats/encoded_matrix.h"
#include "formats/format_files.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

// How one dtype is widened, and its grid.
template <Dtype kDtype>
struct Element;

template <>
struct Element<Dtype::kBF16> {
  using Bits = std::uint16_t;
  static float Widen(Bits bits) { return Bf16ToFloat(bits); }
  static constexpr DitherGrid kGrid = kBf16Grid;
};
template <>
struct Element<Dtype::kF16> {
  using Bits = std::uint16_t;
  static float Widen(Bits bits) { return F16ToFloat(bits); }
  static constexpr DitherGrid kGrid = kF16Grid;
};
template <>
struct Element<Dtype::kF32> {
  using Bits = std::uint32_t;
  static float Widen(Bits bits) { return std::bit_cast<float>(bits); }
};

// Where element (row, col) lies in the tensor, in elements: offset + row * row_step + col *
// col_step.
struct Layout {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t offset = 0;
  std::int64_t row_step = 0;
  std::int64_t col_step = 1;
};

template <Dtype kDtype>
class PlainMatrix : public EncodedMatrix {
  using E = Element<kDtype>;
  using Bits = typename E::Bits;

 public:
  PlainMatrix(const TensorView& tensor, const Layout& layout)
      : EncodedMatrix(layout.rows, layout.cols), tensor_(tensor), layout_(layout) {}

  std::string_view format() const override {
    return kDtype == Dtype::kBF16 ? "bf16" : kDtype == Dtype::kF16 ? "f16" : "f32";
  }

  void DecodeRows(std::int64_t begin, std::int64_t count, float* out) const override {
    CR_CHECK(begin >= 0 && count >= 0 && begin + count <= rows(), "rows {}+{}", begin, count);
    if (layout_.col_step == 1) {
      for (std::int64_t r = 0; r < count; ++r) {
        WidenRow(At(begin + r, 0), out + r * cols());
      }
      return;
    }
    for (std::int64_t c = 0; c < cols(); ++c) {  // transposed: read along the tensor's own rows
      const std::byte* source = At(begin, c);
      for (std::int64_t r = 0; r < count; ++r) {
        out[r * cols() + c] = Widen(source, r * layout_.row_step);
      }
    }
  }

  bool CopyBf16Form(std::int64_t begin, std::int64_t count, std::uint16_t* out) const override {
    if (kDtype != Dtype::kBF16 || layout_.col_step != 1) return false;
    const auto row_bytes = static_cast<std::size_t>(cols()) * sizeof(std::uint16_t);
    for (std::int64_t r = 0; r < count; ++r) {
      std::memcpy(out + r * cols(), At(begin + r, 0), row_bytes);
    }
    return true;
  }

  std::span<const std::byte> StoredBytes(std::int64_t begin, std::int64_t count) const override {
    if (layout_.col_step != 1 || layout_.row_step != cols()) return {};
    return {At(begin, 0), static_cast<std::size_t>(count * cols()) * sizeof(Bits)};
  }

  void DecodeRowsDithered(std::int64_t begin, std::int64_t count, std::uint64_t seed,
                          float* out) const override {
    DecodeRows(begin, count, out);
    if constexpr (kDtype != Dtype::kF32) AddSteps(begin, count, seed, out);
  }

 private:
  void AddSteps(std::int64_t begin, std::int64_t count, std::uint64_t seed, float* out) const {
    const std::uint64_t stream =
        HashText(seed, tensor_.name) + static_cast<std::uint64_t>(layout_.offset);
    for (std::int64_t r = 0; r < count; ++r) {
      ActiveDecodeKernels().add_dither(stream, begin + r, cols(), E::kGrid, out + r * cols());
    }
  }

  void WidenRow(const std::byte* source, float* row) const {
    if constexpr (kDtype == Dtype::kBF16) {
      ActiveDecodeKernels().widen_bf16(source, cols(), row);
    } else if constexpr (kDtype == Dtype::kF16) {
      ActiveDecodeKernels().widen_f16(source, cols(), row);
    } else {
      for (std::int64_t c = 0; c < cols(); ++c) row[c] = Widen(source, c);
    }
  }

  const std::byte* At(std::int64_t row, std::int64_t col) const {
    const std::int64_t element = layout_.offset + row * layout_.row_step + col * layout_.col_step;
    return tensor_.bytes.data() + element * static_cast<std::int64_t>(sizeof(Bits));
  }
  static float Widen(const std::byte* base, std::int64_t element) {
    Bits bits;  // tensors of a mapped file are not aligned
    std::memcpy(&bits, base + element * static_cast<std::int64_t>(sizeof(Bits)), sizeof(Bits));
    return E::Widen(bits);
  }

  TensorView tensor_;
  Layout layout_;
};

Layout LayoutOf(const TensorView& tensor, const PlainSlice& slice) {
  const std::size_t dims = tensor.shape.size();
  if (dims != 2 && dims != 3) {
    Fail("{}: tensor '{}' has shape {}, expected a weight matrix [out, in] or [experts, out, in]",
         tensor.file, tensor.name, ShapeText(tensor.shape));
  }
  const std::int64_t slices = dims == 3 ? tensor.shape[0] : 1;
  const std::int64_t height = tensor.shape[dims - 2];
  const std::int64_t width = tensor.shape[dims - 1];
  const std::int64_t out = slice.transposed ? width : height;
  const std::int64_t stride = slice.row_stride;
  Layout layout;
  layout.rows = RowsOfSlice(tensor, slices, out, slice);
  layout.cols = slice.transposed ? height : width;
  layout.row_step = slice.transposed ? stride : stride * width;
  layout.col_step = slice.transposed ? width : 1;
  layout.offset = slice.index * height * width + slice.row_begin * (slice.transposed ? 1 : width);
  return layout;
}

template <Dtype kDtype>
bool IsPlain(const FormatRequest& request, const WeightParts& parts) {
  const std::string_view name = request.slice ? "" : ".weight";
  return parts.Are({name}) && parts.Get(name).dtype == kDtype;
}

}  // namespace

std::int64_t RowsOfSlice(const TensorView& tensor, std::int64_t slices, std::int64_t out,
                         const PlainSlice& slice) {
  const std::int64_t stride = slice.row_stride;
  if (slice.index < 0 || slice.index >= slices || slice.row_begin < 0 || stride < 1 ||
      slice.row_begin > out) {
    Fail("{}: tensor '{}' {} has no rows from {} (step {}) in slice {}", tensor.file, tensor.name,
         ShapeText(tensor.shape), slice.row_begin, stride, slice.index);
  }
  const std::int64_t available = (out - slice.row_begin + stride - 1) / stride;
  if (slice.rows > available) {
    Fail("{}: tensor '{}' {} has {} rows from {} (step {}), expected {}", tensor.file, tensor.name,
         ShapeText(tensor.shape), available, slice.row_begin, stride, slice.rows);
  }
  return slice.rows < 0 ? available : slice.rows;
}

bool IsBf16(const FormatRequest& request, const WeightParts& parts) {
  return IsPlain<Dtype::kBF16>(request, parts);
}
bool IsF16(const FormatRequest& request, const WeightParts& parts) {
  return IsPlain<Dtype::kF16>(request, parts);
}
bool IsF32(const FormatRequest& request, const WeightParts& parts) {
  return IsPlain<Dtype::kF32>(request, parts);
}

EncodedMatrixPtr OpenPlain(const FormatRequest& request, const WeightParts& parts) {
  return MakePlainMatrix(parts.first(), request.slice.value_or(PlainSlice{}));
}

EncodedMatrixPtr MakePlainMatrix(const TensorView& tensor, const PlainSlice& slice) {
  const Layout layout = LayoutOf(tensor, slice);
  CR_CHECK(static_cast<std::int64_t>(tensor.bytes.size()) * 8 ==
               tensor.NumElements() * DtypeBits(tensor.dtype),
           "tensor '{}' holds {} bytes", tensor.name, tensor.bytes.size());
  switch (tensor.dtype) {
    case Dtype::kBF16:
      return std::make_unique<PlainMatrix<Dtype::kBF16>>(tensor, layout);
    case Dtype::kF16:
      return std::make_unique<PlainMatrix<Dtype::kF16>>(tensor, layout);
    case Dtype::kF32:
      return std::make_unique<PlainMatrix<Dtype::kF32>>(tensor, layout);
    default:
      Fail("{}: tensor '{}' is {}, expected BF16, F16 or F32", tensor.file, tensor.name,
           DtypeName(tensor.dtype));
  }
}

}  // namespace cacheready
