// SPDX-License-Identifier: Apache-2.0
#include "compute/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/parallel.h"
#include "base/random.h"
#include "compute/product_totals.h"
#include "compute/test_matrices.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

// The definition, with std::fma.
float Chain(std::span<const float> w, std::span<const float> x) {
  float sum = 0;
  for (std::size_t k = 0; k < w.size(); ++k) sum = std::fma(w[k], x[k], sum);
  return sum;
}

// Random finite e4m3 codes with random BF16 block scales.
struct Fp8Weight {
  std::vector<std::uint8_t> codes;
  std::vector<std::uint16_t> scales;
  EncodedMatrixPtr matrix;

  Fp8Weight(std::int64_t rows, std::int64_t cols, BlockShape block, std::uint64_t seed) {
    for (std::int64_t i = 0; i < rows * cols; ++i) {
      codes.push_back(
          FloatToE4m3(static_cast<float>(100 * NormalAt(seed, static_cast<std::uint64_t>(i)))));
    }
    const std::int64_t height = (rows + block.rows - 1) / block.rows;
    const std::int64_t width = (cols + block.cols - 1) / block.cols;
    for (std::int64_t i = 0; i < height * width; ++i) {
      scales.push_back(FloatToBf16(
          static_cast<float>(0.001 + UniformAt(seed + 1, static_cast<std::uint64_t>(i)))));
    }
    const TensorView weight{
        "w", Dtype::kF8E4M3, {rows, cols}, std::as_bytes(std::span(codes)), "f"};
    const TensorView scale{
        "s", Dtype::kBF16, {height, width}, std::as_bytes(std::span(scales)), "f"};
    matrix = MakeFp8BlockMatrix(weight, scale, block);
  }
};

TEST(MatMul, IsOneChainPerOutputForEveryShape) {
  for (const std::int64_t tokens : {1, 15, 17, 33, 70}) {
    for (const std::int64_t rows : {1, 12, 97, 130}) {
      for (const std::int64_t cols : {1, 100, 513, 1030}) {
        const Matrix w = Normals(rows, cols, 1), x = Normals(tokens, cols, 2);
        const Matrix y = MatMul(*MakeDenseMatrix(w), PackedTokens(x));
        ASSERT_EQ(y.rows(), tokens);
        ASSERT_EQ(y.cols(), rows);
        for (std::int64_t t = 0; t < tokens; t += 7) {
          for (std::int64_t n = 0; n < rows; n += 11) {
            ASSERT_EQ(y.at(t, n), Chain(w.row(n), x.row(t)))
                << tokens << " " << rows << " " << cols;
          }
        }
      }
    }
  }
}

// More panels than are held at once, more columns than a block.
TEST(MatMul, IsOneChainPerOutputForManyTokens) {
  const std::int64_t tokens = 32 * kTokenPanel + 45, cols = 1030;
  const Matrix w = Normals(100, cols, 1), x = Normals(tokens, cols, 2);
  const Matrix y = MatMul(*MakeDenseMatrix(w), PackedTokens(x));
  for (std::int64_t t = 0; t < tokens; t += 13) {
    for (std::int64_t n = 0; n < 100; n += 33) ASSERT_EQ(y.at(t, n), Chain(w.row(n), x.row(t)));
  }
}

TEST(MatMul, StaysWithinTheErrorBoundOfAChain) {
  const Matrix w = Normals(64, 700, 3), x = Normals(40, 700, 4);
  const Matrix y = MatMul(*MakeDenseMatrix(w), PackedTokens(x));
  for (std::int64_t t = 0; t < 40; ++t) {
    for (std::int64_t n = 0; n < 64; ++n) {
      double sum = 0, magnitude = 0;
      for (std::int64_t k = 0; k < 700; ++k) {
        const double product = double{w.at(n, k)} * double{x.at(t, k)};
        sum += product;
        magnitude += std::fabs(product);
      }
      // Higham 2002, eq. 3.5: n u / (1 - n u) times the sum of magnitudes.
      EXPECT_LE(std::fabs(y.at(t, n) - sum), 700 * 0x1p-24 / (1 - 700 * 0x1p-24) * magnitude);
    }
  }
}

TEST(MatMul, GivesTheSameBitsForAnyBatchThreadsAndKernels) {
  const Fp8Weight w(200, 300, {128, 128}, 5);
  const Matrix x = Normals(100, 300, 6);
  const int threads = NumThreads();
  const std::string_view fastest = ActiveKernels().name;
  SetNumThreads(1);
  const Matrix whole = MatMul(*w.matrix, PackedTokens(x));
  const Matrix scaled = MatMulScaled(*w.matrix, QuantizeTokensE4m3(x, 128));
  for (const Kernels& kernels : AvailableKernels()) {
    SetActiveKernels(kernels.name);
    for (const int count : {1, 3}) {
      SetNumThreads(count);
      EXPECT_TRUE(SameBits(MatMul(*w.matrix, PackedTokens(x)).values(), whole.values()));
      EXPECT_TRUE(
          SameBits(MatMulScaled(*w.matrix, QuantizeTokensE4m3(x, 128)).values(), scaled.values()));
    }
    for (const std::vector<std::int32_t>& rows :
         {std::vector<std::int32_t>{99}, {3, 3, 50}, {7, 1,  80, 31, 32, 33, 2,  5,  6,  4,  8,
                                                      9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}}) {
      const Matrix part = MatMul(*w.matrix, PackedTokens(RowsView(x, rows)));
      const Matrix part_scaled =
          MatMulScaled(*w.matrix, QuantizeTokensE4m3(GatherRows(x, rows), 128));
      for (std::size_t i = 0; i < rows.size(); ++i) {
        const auto at = static_cast<std::int64_t>(i);
        EXPECT_TRUE(SameBits(part.row(at), whole.row(rows[i])));
        EXPECT_TRUE(SameBits(part_scaled.row(at), scaled.row(rows[i])));
      }
    }
  }
  SetActiveKernels(fastest);
  SetNumThreads(threads);
}

TEST(MatMul, GivesEqualRowsEqualBitsWhereverTheyStand) {
  for (const std::int64_t rows : {5, 40, 60, 72, 96, 97, 131, 200}) {
    Matrix w = Normals(rows, 77, 7);
    for (std::int64_t r = 2; r < rows; r += 3) std::ranges::copy(w.row(0), w.row(r).begin());
    const Matrix y = MatMul(*MakeDenseMatrix(w), PackedTokens(Normals(37, 77, 8)));
    for (std::int64_t t = 0; t < y.rows(); ++t) {
      for (std::int64_t r = 2; r < rows; r += 3) ASSERT_EQ(y.at(t, r), y.at(t, 0));
    }
  }
}

TEST(MatMul, ReadsWeightsAsAsked) {
  const Fp8Weight w(50, 130, {128, 128}, 9);
  const Matrix x = Normals(3, 130, 10);
  const Matrix decoded = DecodeAll(*w.matrix);
  Matrix rounded = decoded, dithered(50, 130);
  for (float& value : rounded.values()) value = RoundToBf16(value);
  w.matrix->DecodeRowsDithered(0, 50, 4, dithered.values().data());
  const auto expect = [&](const Matrix& weights, const MatMulOptions& options) {
    const Matrix y = MatMul(*w.matrix, PackedTokens(x), options);
    for (std::int64_t t = 0; t < 3; ++t) {
      for (std::int64_t n = 0; n < 50; ++n) {
        ASSERT_EQ(y.at(t, n), Chain(weights.row(n), x.row(t)));
      }
    }
  };
  expect(decoded, {});
  expect(rounded, {.reading = WeightReading::kRoundedBf16});
  expect(dithered, {.dither_seed = 4});
  for (float& value : dithered.values()) value = RoundToBf16(value);
  expect(dithered, {.reading = WeightReading::kRoundedBf16, .dither_seed = 4});
}

TEST(MatMul, OfNoTokensIsEmpty) {
  const Matrix y = MatMul(*MakeDenseMatrix(Normals(4, 5, 1)), PackedTokens(Matrix(0, 5)));
  EXPECT_EQ(y.rows(), 0);
  EXPECT_EQ(y.cols(), 4);
}

TEST(QuantizeTokens, RoundsToTheNearestCodeOfTheGroupsScale) {
  Matrix x = Normals(5, 300, 11);
  for (std::int64_t c = 128; c < 256; ++c) x.at(2, c) = 0;        // an all-zero group
  for (std::int64_t c = 0; c < 128; ++c) x.at(3, c) *= 0x1p-30f;  // a small one
  for (std::int64_t c = 0; c < 128; c += 2) x.at(4, c) *= 1e-3f;  // subnormal codes
  const QuantizedTokens quantized = QuantizeTokensE4m3(x, 128);
  for (std::int64_t t = 0; t < 5; ++t) {
    for (std::int64_t g = 0; g < 3; ++g) {
      float largest = 1e-10f;
      for (std::int64_t c = g * 128; c < std::min<std::int64_t>(300, g * 128 + 128); ++c) {
        largest = std::max(largest, std::fabs(x.at(t, c)));
      }
      const float scale = largest / 448.0f;
      EXPECT_EQ(quantized.scales[static_cast<std::size_t>(g * 32 + t)], scale);
      for (std::int64_t c = g * 128; c < std::min<std::int64_t>(300, g * 128 + 128); ++c) {
        const float expected = E4m3ToFloat(FloatToE4m3(x.at(t, c) / scale));
        EXPECT_EQ(quantized.codes.at(t, c), expected) << t << " " << c;
      }
    }
  }
}

TEST(QuantizeTokens, RoundsTiesToEven) {
  // Group maximum 448 gives scale 1: values are rounded as they are.
  const std::vector<std::pair<float, float>> cases = {
      {448.0f, 448.0f},         {17.0f, 16.0f},
      {19.0f, 20.0f},           {-17.0f, -16.0f},
      {0x1p-10f, 0.0f},         {3 * 0x1p-10f, 0x1p-8f},
      {5 * 0x1p-10f, 0x1p-8f},  {17 * 0x1p-10f, 0x1p-6f},
      {15 * 0x1p-10f, 0x1p-6f}, {0.0f, 0.0f}};
  Matrix x(1, static_cast<std::int64_t>(cases.size()));
  for (std::size_t i = 0; i < cases.size(); ++i) x.values()[i] = cases[i].first;
  const QuantizedTokens quantized = QuantizeTokensE4m3(x, 128);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ(quantized.codes.values()[i], cases[i].second) << cases[i].first;
  }
}

TEST(MatMulScaled, MultipliesExactCodesAndScalesEachBlock) {
  const std::int64_t rows = 140, cols = 300, tokens = 21;
  const Fp8Weight w(rows, cols, {128, 128}, 13);
  const QuantizedTokens x = QuantizeTokensE4m3(Normals(tokens, cols, 14), 128);
  for (const bool dither : {false, true}) {
    Matrix codes(rows, cols);
    if (dither) {
      w.matrix->DecodeCodesDithered(0, rows, 3, codes.values().data());
    } else {
      w.matrix->DecodeCodes(0, rows, codes.values().data());
    }
    const Matrix y =
        MatMulScaled(*w.matrix, x, dither ? std::optional<std::uint64_t>(3) : std::nullopt);
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t n = 0; n < rows; ++n) {
        float expected = 0;
        for (std::int64_t b = 0; b < 3; ++b) {
          float block = 0;
          for (std::int64_t c = b * 128; c < std::min(cols, b * 128 + 128); ++c) {
            block = std::fma(codes.at(n, c), x.codes.at(t, c), block);
          }
          const float token_scale = x.scales[static_cast<std::size_t>(b * 32 + t)];
          expected = std::fma(block, w.matrix->Scale(n / 128, b) * token_scale, expected);
        }
        ASSERT_EQ(y.at(t, n), expected);
      }
    }
  }
}

TEST(MatMulScaled, ApproximatesTheUnquantizedProduct) {
  const Fp8Weight w(128, 256, {128, 128}, 15);
  const Matrix x = Normals(50, 256, 16);
  const Matrix exact = MatMul(*w.matrix, PackedTokens(x));
  const Matrix scaled = MatMulScaled(*w.matrix, QuantizeTokensE4m3(x, 128));
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < exact.values().size(); ++i) {
    error += std::pow(double{scaled.values()[i]} - exact.values()[i], 2);
    norm += std::pow(double{exact.values()[i]}, 2);
  }
  // A 4-bit significand rounds with a relative error between 2^-4 / sqrt(12) at the top of a binade
  // and twice that at its foot.
  EXPECT_GT(std::sqrt(error / norm), 0.0625 / std::sqrt(12.0) * 0.8);
  EXPECT_LT(std::sqrt(error / norm), 0.125 / std::sqrt(12.0));
}

TEST(AllProducts, CountOperationsAndTimeOnAnyThreads) {
  const Matrix w = Normals(130, 77, 1);
  const PackedTokens x(Normals(9, 77, 2));
  for (const int threads : {1, 3}) {
    SetNumThreads(threads);
    const ProductTotals before = AllProducts();
    MatMul(*MakeDenseMatrix(w), x);
    const ProductTotals after = AllProducts();
    EXPECT_EQ(after.operations - before.operations, 2.0 * 130 * 77 * 9);
    EXPECT_GT(after.thread_seconds, before.thread_seconds);
  }
}

}  // namespace
}  // namespace cacheready
