// Every storage format through every kernel: a token's bits depend on its row and the weight alone.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/parallel.h"
#include "compute/matmul.h"
#include "compute/random_weights.h"
#include "compute/sequence_ops.h"
#include "compute/test_matrices.h"

namespace cacheready {
namespace {

class EveryFormat : public ::testing::TestWithParam<std::string_view> {
 protected:
  // Rows and columns that no strip, tile, panel or block divides; what packing asks for is kept.
  static constexpr std::int64_t kRows = 104, kCols = 344;
  std::string format() const { return std::string(GetParam()); }
};

TEST_P(EveryFormat, MultipliesTheDecodedWeightsInOneChainPerOutput) {
  const RandomWeight w(format(), kRows, kCols, 1);
  ASSERT_EQ(w.matrix().format(), GetParam());
  const Matrix x = Normals(3, kCols, 2), decoded = DecodeAll(w.matrix());
  const Matrix y = MatMul(w.matrix(), PackedTokens(x));
  for (std::int64_t t = 0; t < x.rows(); ++t) {
    for (std::int64_t n = 0; n < kRows; ++n) {
      float chain = 0;
      for (std::int64_t k = 0; k < kCols; ++k)
        chain = std::fma(decoded.at(n, k), x.at(t, k), chain);
      ASSERT_EQ(y.at(t, n), chain) << t << " " << n;
    }
  }
}

TEST_P(EveryFormat, DecodesARowAloneAsAmongOthers) {
  const RandomWeight w(format(), kRows, kCols, 3);
  const EncodedMatrix& m = w.matrix();
  const Matrix whole = DecodeAll(m);
  Matrix codes(kRows, kCols), dithered(kRows, kCols);
  m.DecodeCodes(0, kRows, codes.values().data());
  m.DecodeRowsDithered(0, kRows, 5, dithered.values().data());
  std::vector<float> row(static_cast<std::size_t>(kCols));
  for (std::int64_t r = 0; r < kRows; ++r) {
    m.DecodeRows(r, 1, row.data());
    ASSERT_TRUE(SameBits(row, whole.row(r))) << r;
    m.DecodeCodes(r, 1, row.data());
    ASSERT_TRUE(SameBits(row, codes.row(r))) << r;
    m.DecodeRowsDithered(r, 1, 5, row.data());
    ASSERT_TRUE(SameBits(row, dithered.row(r))) << r;
  }
}

TEST_P(EveryFormat, WeightsAreCodesTimesTheScaleOfTheirBlock) {
  const RandomWeight w(format(), kRows, kCols, 4);
  const EncodedMatrix& m = w.matrix();
  const BlockShape block = m.block_shape();
  const Matrix whole = DecodeAll(m);
  Matrix codes(kRows, kCols);
  m.DecodeCodes(0, kRows, codes.values().data());
  for (std::int64_t r = 0; r < kRows; ++r) {
    for (std::int64_t c = 0; c < kCols; ++c) {
      const float scale = block.cols == 0 ? 1.0f : m.Scale(r / block.rows, c / block.cols);
      ASSERT_EQ(whole.at(r, c), codes.at(r, c) * scale) << r << " " << c;
      // Exact in bf16, which is what allows kernels to multiply codes there.
      if (block.cols != 0) {
        ASSERT_EQ(RoundToBf16(codes.at(r, c)), codes.at(r, c));
      }
    }
  }
}

TEST_P(EveryFormat, GivesATokenTheSameBitsInEveryBatchOnAnyThreadsAndKernels) {
  const RandomWeight w(format(), kRows, kCols, 6);
  const Matrix x = Normals(70, kCols, 7);
  const RestoreKernels restore;
  const Matrix whole = MatMul(w.matrix(), PackedTokens(x));
  std::vector<std::int32_t> backwards(70);
  std::iota(backwards.rbegin(), backwards.rend(), 0);
  for (const Kernels& kernels : AvailableKernels()) {
    SetActiveKernels(kernels.name);
    for (const int threads : {1, 3}) {
      SetNumThreads(threads);
      for (const std::size_t count : {1, 2, 15, 16, 17, 31, 32, 33, 64, 70}) {
        const std::span<const std::int32_t> rows(backwards.data(), count);
        const Matrix y = MatMul(w.matrix(), PackedTokens(RowsView(x, rows)));
        for (std::size_t i = 0; i < count; ++i) {
          ASSERT_TRUE(SameBits(y.row(static_cast<std::int64_t>(i)), whole.row(rows[i])))
              << kernels.name << " " << threads << " " << count << " " << i;
        }
      }
    }
  }
}

// The 104 rows alone have another strip height and other tiles than among 300.
TEST_P(EveryFormat, GivesEqualRowsEqualBitsWhateverTheOthers) {
  for (const std::int64_t cols : {8, 344, 5000}) {
    const RandomWeight w(format(), kRows, cols, 8);
    const Matrix x = Normals(5, cols, 9), decoded = DecodeAll(w.matrix());
    Matrix stacked(300, cols);
    for (std::int64_t r = 0; r < 300; ++r) {
      std::ranges::copy(decoded.row((7 * r) % kRows), stacked.row(r).begin());
    }
    const Matrix y = MatMul(w.matrix(), PackedTokens(x));
    const Matrix z = MatMul(*MakeDenseMatrix(stacked), PackedTokens(x));
    for (std::int64_t t = 0; t < 5; ++t) {
      for (std::int64_t r = 0; r < 300; ++r) ASSERT_EQ(z.at(t, r), y.at(t, (7 * r) % kRows));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(OfTheTable, EveryFormat, ::testing::ValuesIn([] {
                           std::vector<std::string_view> names;
                           for (const WeightFormat& format : WeightFormats()) {
                             names.push_back(format.name);
                           }
                           return names;
                         }()),
                         [](const auto& instance) {
                           std::string name(instance.param);
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace cacheready
