// The bf16 classes: bits that do not depend on the batch, and the bound that their rounding gives.
// SPDX-License-Identifier: Apache-2.0
#include "compute/matmul_bf16.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "compute/random_weights.h"
#include "compute/sequence_ops.h"
#include "compute/test_matrices.h"

namespace cacheready {
namespace {

constexpr Bf16Numerics kClasses[] = {Bf16Numerics::kAmx, Bf16Numerics::kAvx512};
constexpr std::int64_t kRows = 104, kCols = 344;

std::string FormatName(const ::testing::TestParamInfo<std::string_view>& instance) {
  std::string name(instance.param);
  std::ranges::replace(name, '-', '_');
  return name;
}

Matrix RoundedNormals(std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
  Matrix x = Normals(rows, cols, seed);
  for (float& value : x.values()) value = RoundToBf16(value);
  return x;
}

// Every output of y is within bound(columns) * sum |w x| of the exact sum of w x.
void ExpectNear(const Matrix& y, const Matrix& w, const Matrix& x, double bound) {
  for (std::int64_t t = 0; t < x.rows(); ++t) {
    for (std::int64_t n = 0; n < w.rows(); ++n) {
      double sum = 0, magnitude = 0;
      for (std::int64_t k = 0; k < w.cols(); ++k) {
        const double product = double{w.at(n, k)} * double{x.at(t, k)};
        sum += product;
        magnitude += std::fabs(product);
      }
      ASSERT_LE(std::fabs(y.at(t, n) - sum), bound * magnitude) << t << " " << n;
    }
  }
}

// Relative error of `roundings` roundings to fp32 (Higham 2002, eq. 3.5).
double Fp32Error(double roundings) { return roundings * 0x1p-24 / (1 - roundings * 0x1p-24); }

class EveryFormatInBf16 : public ::testing::TestWithParam<std::string_view> {
 protected:
  RandomWeight Weight(std::uint64_t seed) const {
    return RandomWeight(std::string(GetParam()), kRows, kCols, seed);
  }
};

TEST_P(EveryFormatInBf16, MultipliesWhatIsExactInBf16WithTheErrorOfFp32Alone) {
  const RandomWeight w = Weight(1);
  const std::int64_t block = Bf16BlockColumns(w.matrix(), WeightReading::kStored);
  const Matrix x = RoundedNormals(5, kCols, 2), decoded = DecodeAll(w.matrix());
  constexpr std::string_view kExact[] = {"bf16", "nvfp4", "mxfp4", "mxfp8"};
  const bool exact = block != 0 || std::ranges::find(kExact, GetParam()) != std::end(kExact);
  // Rounded weights are off by 2^-8 of their own each.
  const double bound = Fp32Error(2 * kCols + 2) + (exact ? 0 : 0x1p-8 * (1 + Fp32Error(2 * kCols)));
  for (const Bf16Numerics numerics : kClasses) {
    const Matrix y = MatMulBf16(w.matrix(), Bf16Tokens(x, block), numerics);
    ExpectNear(y, decoded, x, bound);
  }
}

TEST_P(EveryFormatInBf16, StaysWithinTheRoundingOfTokensAndWeights) {
  const RandomWeight w = Weight(3);
  const Matrix x = Normals(5, kCols, 4), decoded = DecodeAll(w.matrix());
  const double bound = 2 * 0x1p-8 + 0x1p-16 + 2 * Fp32Error(2 * kCols + 2);
  for (const WeightReading reading : {WeightReading::kStored, WeightReading::kRoundedBf16}) {
    const Bf16Tokens packed(x, Bf16BlockColumns(w.matrix(), reading));
    for (const Bf16Numerics numerics : kClasses) {
      ExpectNear(MatMulBf16(w.matrix(), packed, numerics, {.reading = reading}), decoded, x, bound);
    }
  }
}

TEST_P(EveryFormatInBf16, GivesATokenTheSameBitsInEveryBatchOnAnyThreadsAndKernels) {
  const RandomWeight w = Weight(5);
  const std::int64_t block = Bf16BlockColumns(w.matrix(), WeightReading::kStored);
  const Matrix x = Normals(70, kCols, 6);
  const RestoreKernels restore;
  std::vector<std::int32_t> backwards(70);
  std::iota(backwards.rbegin(), backwards.rend(), 0);
  for (const Bf16Numerics numerics : kClasses) {
    SetActiveKernels("portable");
    const Matrix whole = MatMulBf16(w.matrix(), Bf16Tokens(x, block), numerics);
    for (const Kernels& kernels : AvailableKernels()) {
      SetActiveKernels(kernels.name);
      SetNumThreads(kernels.name == "portable" ? 1 : 3);
      for (const std::size_t count : {1, 16, 17, 33, 70}) {
        const std::span<const std::int32_t> rows(backwards.data(), count);
        const Matrix y = MatMulBf16(w.matrix(), Bf16Tokens(GatherRows(x, rows), block), numerics);
        for (std::size_t i = 0; i < count; ++i) {
          ASSERT_TRUE(SameBits(y.row(static_cast<std::int64_t>(i)), whole.row(rows[i])))
              << kernels.name << " " << count << " " << i;
        }
      }
    }
  }
}

TEST_P(EveryFormatInBf16, ReadsDitheredWeights) {
  const RandomWeight w = Weight(7);
  const std::int64_t block = Bf16BlockColumns(w.matrix(), WeightReading::kStored);
  const Matrix x = RoundedNormals(3, kCols, 8);
  Matrix dithered(kRows, kCols);
  w.matrix().DecodeRowsDithered(0, kRows, 9, dithered.values().data());
  const double bound = 0x1p-8 + 0x1p-16 + 2 * Fp32Error(2 * kCols + 3);
  for (const Bf16Numerics numerics : kClasses) {
    ExpectNear(MatMulBf16(w.matrix(), Bf16Tokens(x, block), numerics, {.dither_seed = 9}), dithered,
               x, bound);
  }
}

INSTANTIATE_TEST_SUITE_P(OfTheTable, EveryFormatInBf16, ::testing::ValuesIn([] {
                           std::vector<std::string_view> names;
                           for (const WeightFormat& format : WeightFormats()) {
                             names.push_back(format.name);
                           }
                           return names;
                         }()),
                         FormatName);

TEST(MatMulBf16, MultipliesExactCodesOfQuantizedTokens) {
  const RandomWeight blocks("fp8-block", kRows, kCols, 10), plain("bf16", kRows, kCols, 11);
  const QuantizedTokens x = QuantizeTokensE4m3(Normals(40, kCols, 12), 128);
  for (const EncodedMatrix* w : {&blocks.matrix(), &plain.matrix()}) {
    const Matrix reference = MatMulScaled(*w, x);
    // The weights and tokens that the codes stand for.
    const Matrix weights = DecodeAll(*w);
    Matrix tokens(40, kCols);
    for (std::int64_t t = 0; t < 40; ++t) {
      for (std::int64_t c = 0; c < kCols; ++c) {
        const float scale = x.scales[static_cast<std::size_t>(c / 128 * 64 + t)];
        tokens.at(t, c) = x.codes.at(t, c) * scale;
      }
    }
    for (const Bf16Numerics numerics : kClasses) {
      const Matrix y = MatMulBf16(*w, Bf16Tokens(x), numerics);
      ExpectNear(y, weights, tokens, Fp32Error(2 * kCols + 6));
      ExpectNear(reference, weights, tokens, Fp32Error(2 * kCols + 6));
    }
  }
}

TEST(MatMulBf16, TakesEveryRaggedShape) {
  for (const std::int64_t rows : {1, 15, 17, 33, 97, 130}) {
    for (const std::int64_t cols : {1, 31, 33, 257, 2000}) {
      for (const std::int64_t tokens : {1, 33}) {
        const Matrix w = RoundedNormals(rows, cols, 13), x = RoundedNormals(tokens, cols, 14);
        for (const Bf16Numerics numerics : kClasses) {
          const Matrix y = MatMulBf16(*MakeDenseMatrix(w), Bf16Tokens(x, 0), numerics);
          ASSERT_EQ(y.rows(), tokens);
          ASSERT_EQ(y.cols(), rows);
          ExpectNear(y, w, x, Fp32Error(static_cast<double>(2 * cols + 2)));
        }
      }
    }
  }
}

TEST(MatMulBf16, GivesEqualRowsEqualBitsWhereverTheyStand) {
  Matrix w = Normals(200, 77, 15);
  for (std::int64_t r = 2; r < 200; r += 3) std::ranges::copy(w.row(0), w.row(r).begin());
  for (const Bf16Numerics numerics : kClasses) {
    const Matrix y = MatMulBf16(*MakeDenseMatrix(w), Bf16Tokens(Normals(37, 77, 16), 0), numerics);
    for (std::int64_t t = 0; t < y.rows(); ++t) {
      for (std::int64_t r = 2; r < 200; r += 3) ASSERT_EQ(y.at(t, r), y.at(t, 0));
    }
  }
}

TEST(MatMulBf16, OfNoTokensIsEmpty) {
  const Matrix y = MatMulBf16(*MakeDenseMatrix(Normals(4, 5, 1)), Bf16Tokens(Matrix(0, 5), 0),
                              Bf16Numerics::kAmx);
  EXPECT_EQ(y.rows(), 0);
  EXPECT_EQ(y.cols(), 4);
}

TEST(MatMulBf16, ClassesHaveNamesOfTheirOwn) {
  EXPECT_EQ(NumericsClassName(Bf16Numerics::kAmx), "bf16-amx-1");
  EXPECT_EQ(NumericsClassName(Bf16Numerics::kAvx512), "bf16-avx512-1");
}

TEST_P(EveryFormatInBf16, KeepsNanAndInfinityOfTokens) {
  const RandomWeight w = Weight(17);
  Matrix x = Normals(3, kCols, 18);
  x.at(0, 5) = NAN;
  x.at(1, 7) = INFINITY;
  const Bf16Tokens packed(x, Bf16BlockColumns(w.matrix(), WeightReading::kStored));
  for (const Bf16Numerics numerics : kClasses) {
    const Matrix y = MatMulBf16(w.matrix(), packed, numerics);
    for (std::int64_t n = 0; n < kRows; ++n) {
      EXPECT_TRUE(std::isnan(y.at(0, n)));
      EXPECT_FALSE(std::isfinite(y.at(1, n)));
      EXPECT_TRUE(std::isfinite(y.at(2, n)));
    }
  }
}

}  // namespace
}  // namespace cacheready
