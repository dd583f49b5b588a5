// SPDX-License-Identifier: Apache-2.0
#include "formats/encoded_matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// A tensor with its bytes.
struct StoredTensor {
  std::vector<std::byte> bytes;
  TensorView view;

  template <typename Bits>
  StoredTensor(std::string name, Dtype dtype, std::vector<std::int64_t> shape,
               const std::vector<Bits>& values)
      : bytes(values.size() * sizeof(Bits)) {
    std::memcpy(bytes.data(), values.data(), bytes.size());
    view = {std::move(name), dtype, std::move(shape), bytes, "test.safetensors"};
  }
};

// The definition of OCP e4m3fn, without tables.
float E4m3ByDefinition(int code) {
  const int exponent = (code >> 3) & 15;
  const int mantissa = code & 7;
  const double sign = (code & 128) != 0 ? -1 : 1;
  if (exponent == 15 && mantissa == 7) return std::nanf("");
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return static_cast<float>(sign * magnitude);
}

std::vector<std::uint8_t> AllCodes() {
  std::vector<std::uint8_t> codes(256);
  std::iota(codes.begin(), codes.end(), std::uint8_t{0});
  return codes;
}

std::vector<std::uint16_t> Bf16(std::initializer_list<float> values) {
  std::vector<std::uint16_t> bits;
  for (const float value : values) bits.push_back(FloatToBf16(value));
  return bits;
}

TEST(Fp8BlockMatrix, DecodesAllCodesAsTheFormatDefinesThem) {
  const StoredTensor weight("w.weight", Dtype::kF8E4M3, {2, 128}, AllCodes());
  const StoredTensor scale("w.weight_scale_inv", Dtype::kBF16, {1, 1}, Bf16({0.375f}));
  const EncodedMatrixPtr matrix = MakeFp8BlockMatrix(weight.view, scale.view, {128, 128});
  const Matrix values = DecodeAll(*matrix);
  Matrix codes(2, 128);
  matrix->DecodeCodes(0, 2, codes.values().data());
  for (int code = 0; code < 256; ++code) {
    const auto i = static_cast<std::size_t>(code);
    const float expected = E4m3ByDefinition(code);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(values.values()[i])) << code;
      EXPECT_TRUE(std::isnan(codes.values()[i])) << code;
    } else {
      EXPECT_EQ(values.values()[i], expected * 0.375f) << code;
      EXPECT_EQ(codes.values()[i], expected) << code;
    }
  }
}

TEST(Fp8BlockMatrix, UsesTheScaleOfEachBlockUpToTheRaggedEdges) {
  const std::int64_t rows = 5, cols = 7;  // blocks of 2 x 3: 3 x 3 of them
  const std::vector<std::uint8_t> ones(static_cast<std::size_t>(rows * cols), 0x38);  // 1.0
  const std::vector<float> scales = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  const StoredTensor weight("w.weight", Dtype::kF8E4M3, {rows, cols}, ones);
  const StoredTensor scale("w.weight_scale_inv", Dtype::kF32, {3, 3}, scales);
  const EncodedMatrixPtr matrix = MakeFp8BlockMatrix(weight.view, scale.view, {2, 3});
  const Matrix values = DecodeAll(*matrix);
  std::vector<float> middle(static_cast<std::size_t>(2 * cols));
  matrix->DecodeRows(3, 2, middle.data());
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      const float expected = static_cast<float>((r / 2) * 3 + c / 3 + 1);
      EXPECT_EQ(values.at(r, c), expected);
      EXPECT_EQ(matrix->Scale(r / 2, c / 3), expected);
      if (r >= 3) {
        EXPECT_EQ(middle[static_cast<std::size_t>((r - 3) * cols + c)], expected);
      }
    }
  }
}

TEST(Fp8BlockMatrix, ReadsScalesOfEveryPublishedDtype) {
  const StoredTensor weight("w.weight", Dtype::kF8E4M3, {1, 1}, std::vector<std::uint8_t>{0x40});
  const auto decoded = [&](const StoredTensor& scale) {
    return DecodeAll(*MakeFp8BlockMatrix(weight.view, scale.view, {128, 128})).at(0, 0);
  };
  EXPECT_EQ(decoded({"s", Dtype::kBF16, {1, 1}, Bf16({0.25f})}), 0.5f);
  EXPECT_EQ(decoded({"s", Dtype::kF32, {1, 1}, std::vector<float>{0.3f}}), 2 * 0.3f);
  EXPECT_EQ(decoded({"s", Dtype::kF16, {1, 1}, std::vector<std::uint16_t>{0x3400}}), 0.5f);
  EXPECT_EQ(decoded({"s", Dtype::kU8, {1, 1}, std::vector<std::uint8_t>{125}}), 0.5f);
  EXPECT_EQ(decoded({"s", Dtype::kF8E8M0, {1, 1}, std::vector<std::uint8_t>{130}}), 16.0f);
}

TEST(Fp8BlockMatrix, RefusesScalesThatDoNotFitTheBlocks) {
  const StoredTensor weight("w.weight", Dtype::kF8E4M3, {2, 128}, AllCodes());
  const StoredTensor scale("w.weight_scale_inv", Dtype::kF32, {1, 1}, std::vector<float>{1});
  EXPECT_THAT(
      [&] {
        MakeFp8BlockMatrix(weight.view, scale.view, {1, 64});
      },
      ThrowsMessage<Error>(HasSubstr("shape [1, 1], expected [2, 2]")));
}

TEST(Fp8BlockMatrix, DithersWithinHalfAStepOfTheCodesGrid) {
  std::vector<std::uint8_t> codes;
  for (int repeat = 0; repeat < 64; ++repeat) {
    for (int code = 0; code < 256; ++code) {
      codes.push_back(static_cast<std::uint8_t>((code & 127) == 127 ? 0 : code));
    }
  }
  const StoredTensor weight("w.weight", Dtype::kF8E4M3, {64, 256}, codes);
  const StoredTensor scale("w.weight_scale_inv", Dtype::kF32, {1, 2}, std::vector<float>{1, 1});
  const EncodedMatrixPtr matrix = MakeFp8BlockMatrix(weight.view, scale.view, {128, 128});
  Matrix dithered(64, 256);
  matrix->DecodeRowsDithered(0, 64, 11, dithered.values().data());
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const int exponent = std::max((codes[i] >> 3) & 15, 1);
    const double step = std::ldexp(1.0, exponent - 10);
    const double offset =
        (static_cast<double>(dithered.values()[i]) - E4m3ByDefinition(codes[i])) / step;
    ASSERT_LE(std::fabs(offset), 0.5 + 1e-6) << "code " << int{codes[i]};
    sum += offset;
    squares += offset * offset;
  }
  // Uniform on (-1/2, 1/2): mean 0, variance 1/12; 16384 draws, so 5 standard errors.
  const auto n = static_cast<double>(codes.size());
  EXPECT_NEAR(sum / n, 0.0, 5 * std::sqrt(1.0 / 12 / n));
  EXPECT_NEAR(squares / n, 1.0 / 12, 5 * std::sqrt(1.0 / 180 / n));
}

TEST(Fp8BlockMatrix, DitherIsTheDitheredCodeTimesTheScale) {
  const StoredTensor weight("w.weight", Dtype::kF8E4M3, {2, 128}, AllCodes());
  const StoredTensor scale("w.weight_scale_inv", Dtype::kF32, {1, 1}, std::vector<float>{0.3f});
  const EncodedMatrixPtr matrix = MakeFp8BlockMatrix(weight.view, scale.view, {128, 128});
  Matrix rows(2, 128), codes(2, 128);
  matrix->DecodeRowsDithered(0, 2, 5, rows.values().data());
  matrix->DecodeCodesDithered(0, 2, 5, codes.values().data());
  for (std::size_t i = 0; i < 256; ++i) {
    if ((i & 127) == 127) continue;
    EXPECT_EQ(rows.values()[i], codes.values()[i] * 0.3f);
  }
}

TEST(EncodedMatrix, DitherDependsOnSeedTensorRowAndColumnOnly) {
  const std::vector<std::uint16_t> ones(7 * 9, FloatToBf16(1.0f));
  const StoredTensor weight("up.weight", Dtype::kBF16, {7, 9}, ones);
  const StoredTensor other("gate.weight", Dtype::kBF16, {7, 9}, ones);
  const EncodedMatrixPtr matrix = MakePlainMatrix(weight.view);
  const auto dithered = [](const EncodedMatrix& source, std::int64_t begin, std::int64_t count,
                           std::uint64_t seed) {
    Matrix out(count, source.cols());
    source.DecodeRowsDithered(begin, count, seed, out.values().data());
    return out;
  };
  const Matrix whole = dithered(*matrix, 0, 7, 3);
  const Matrix part = dithered(*matrix, 4, 2, 3);
  EXPECT_EQ(0, std::memcmp(whole.row(4).data(), part.values().data(), 2 * 9 * sizeof(float)));
  EXPECT_NE(0, std::memcmp(whole.values().data(), dithered(*matrix, 0, 7, 4).values().data(),
                           7 * 9 * sizeof(float)));
  EXPECT_NE(0, std::memcmp(whole.values().data(),
                           dithered(*MakePlainMatrix(other.view), 0, 7, 3).values().data(),
                           7 * 9 * sizeof(float)));
  EXPECT_NE(whole.at(0, 0), whole.at(1, 0));
  EXPECT_NE(whole.at(0, 0), whole.at(0, 1));
}

TEST(PlainMatrix, DithersByTheStepOfItsDtypeAndLeavesZerosAlone) {
  const std::vector<float> values = {0.0f, -0.0f, 1.0f, -1.75f, 300.0f, 0x1p-20f};
  std::vector<std::uint16_t> bf16, f16;
  for (const float value : values) {
    bf16.push_back(FloatToBf16(value));
    f16.push_back(FloatToF16(value));
  }
  const std::vector<std::int64_t> shape = {1, 6};
  const StoredTensor in_bf16("w", Dtype::kBF16, shape, bf16);
  const StoredTensor in_f16("w", Dtype::kF16, shape, f16);
  const StoredTensor in_f32("w", Dtype::kF32, shape, values);
  const auto check = [&](const StoredTensor& tensor, const std::vector<double>& steps) {
    const EncodedMatrixPtr matrix = MakePlainMatrix(tensor.view);
    std::vector<double> largest(6);
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
      float out[6];
      matrix->DecodeRowsDithered(0, 1, seed, out);
      for (std::size_t i = 0; i < 6; ++i) {
        largest[i] = std::max(largest[i], std::fabs(double{out[i]} - double{values[i]}));
      }
    }
    for (std::size_t i = 0; i < 6; ++i) {
      EXPECT_LE(largest[i], steps[i] / 2 * (1 + 1e-6)) << tensor.view.name << " " << i;
      EXPECT_GE(largest[i], steps[i] / 2 * 0.9) << tensor.view.name << " " << i;
    }
  };
  check(in_bf16, {0, 0, 0x1p-7, 0x1p-7, 2.0, 0x1p-27});
  check(in_f16, {0, 0, 0x1p-10, 0x1p-10, 0.25, 0x1p-24});  // 2^-20 is a subnormal of F16
  check(in_f32, {0, 0, 0, 0, 0, 0});
}

TEST(PlainMatrix, ReadsSlicesStridesAndTransposes) {
  // [experts 2][4][3], value = 100 e + 10 i + j
  std::vector<float> values;
  for (int e = 0; e < 2; ++e) {
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 3; ++j) values.push_back(static_cast<float>(100 * e + 10 * i + j));
    }
  }
  const StoredTensor tensor("experts", Dtype::kF32, {2, 4, 3}, values);
  const Matrix odd =
      DecodeAll(*MakePlainMatrix(tensor.view, {.index = 1, .row_begin = 1, .row_stride = 2}));
  ASSERT_EQ(odd.rows(), 2);
  ASSERT_EQ(odd.cols(), 3);
  for (std::int64_t r = 0; r < 2; ++r) {
    for (std::int64_t c = 0; c < 3; ++c) {
      EXPECT_EQ(odd.at(r, c), static_cast<float>(100 + 10 * (2 * r + 1) + c));
    }
  }
  const EncodedMatrixPtr transposed =
      MakePlainMatrix(tensor.view, {.index = 1, .row_begin = 1, .rows = 2, .transposed = true});
  ASSERT_EQ(transposed->rows(), 2);
  ASSERT_EQ(transposed->cols(), 4);
  float row[4];
  transposed->DecodeRows(1, 1, row);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(row[i], static_cast<float>(100 + 10 * i + 2));
  EXPECT_THROW(MakePlainMatrix(tensor.view, {.index = 2}), Error);
  EXPECT_THROW(MakePlainMatrix(tensor.view, {.row_begin = 3, .rows = 2}), Error);
}

TEST(PlainMatrix, WidensEveryDtypeFromUnalignedBytes) {
  std::vector<std::byte> shifted(1 + 4);
  const std::vector<std::uint16_t> bits = Bf16({-2.5f, 3.0f});
  std::memcpy(shifted.data() + 1, bits.data(), 4);
  const TensorView view{"w", Dtype::kBF16, {1, 2}, std::span(shifted).subspan(1), "f"};
  const EncodedMatrixPtr matrix = MakePlainMatrix(view);
  EXPECT_EQ(matrix->format(), "bf16");
  const Matrix values = DecodeAll(*matrix);
  EXPECT_EQ(values.at(0, 0), -2.5f);
  EXPECT_EQ(values.at(0, 1), 3.0f);
  const StoredTensor f16("w", Dtype::kF16, {1, 1}, std::vector<std::uint16_t>{0xC100});
  EXPECT_EQ(DecodeAll(*MakePlainMatrix(f16.view)).at(0, 0), -2.5f);
  const StoredTensor i32("w", Dtype::kI32, {1, 1}, std::vector<std::int32_t>{1});
  EXPECT_THROW(MakePlainMatrix(i32.view), Error);
}

TEST(DenseMatrix, ReturnsItsValues) {
  Matrix values(3, 2);
  std::iota(values.values().begin(), values.values().end(), 1.0f);
  const EncodedMatrixPtr matrix = MakeDenseMatrix(values);
  EXPECT_EQ(matrix->format(), "f32");
  const Matrix decoded = DecodeAll(*matrix);
  EXPECT_TRUE(std::equal(decoded.values().begin(), decoded.values().end(), values.values().begin(),
                         values.values().end()));
}

}  // namespace
}  // namespace cacheready
