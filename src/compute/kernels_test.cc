// Every instruction set gives the bits that the definition gives. SPDX-License-Identifier:
// Apache-2.0
#include "compute/kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "compute/test_matrices.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

std::vector<float> NormalVector(std::int64_t count, std::uint64_t seed) {
  const Matrix row = Normals(1, count, seed);
  return {row.values().begin(), row.values().end()};
}

constexpr std::string_view kAllKernels[] = {"portable", "avx2", "avx512", "avx512bf16", "amx"};

class EveryInstructionSet : public ::testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override {
    for (const Kernels& table : AvailableKernels()) {
      if (table.name == GetParam()) kernels_ = &table;
    }
    if (kernels_ == nullptr) GTEST_SKIP() << "this CPU has no " << GetParam();
  }
  const Kernels& kernels() const { return *kernels_; }

 private:
  const Kernels* kernels_ = nullptr;
};

TEST_P(EveryInstructionSet, PanelProductIsOneFusedChainPerOutput) {
  for (const std::int64_t rows : {1, 2, 5, 6, 7, 11, 12, 13, 25}) {
    for (const std::int64_t cols : {0, 1, 3, 64, 129}) {
      for (const std::int64_t tokens : {16, 32, 48, 80}) {
        const std::int64_t w_stride = cols + 3, xt_stride = tokens + 5, out_stride = tokens + 1;
        const std::vector<float> w = NormalVector(rows * w_stride, 1);
        const std::vector<float> xt = NormalVector(std::max<std::int64_t>(1, cols * xt_stride), 2);
        for (const bool accumulate : {false, true}) {
          std::vector<float> out = NormalVector(rows * out_stride, 3);
          std::vector<float> expected = out;
          for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t t = 0; t < tokens; ++t) {
              float& sum = expected[static_cast<std::size_t>(r * out_stride + t)];
              if (!accumulate) sum = 0;
              for (std::int64_t c = 0; c < cols; ++c) {
                sum = std::fma(w[static_cast<std::size_t>(r * w_stride + c)],
                               xt[static_cast<std::size_t>(c * xt_stride + t)], sum);
              }
            }
          }
          kernels().multiply_panel({.w = w.data(),
                                    .w_stride = w_stride,
                                    .rows = rows,
                                    .cols = cols,
                                    .xt = xt.data(),
                                    .xt_stride = xt_stride,
                                    .tokens = tokens,
                                    .accumulate = accumulate,
                                    .out = out.data(),
                                    .out_stride = out_stride});
          ASSERT_TRUE(SameBits(out, expected)) << rows << " x " << cols << " x " << tokens;
        }
      }
    }
  }
}

TEST_P(EveryInstructionSet, PanelProductWithScalesAddsTheScaledChain) {
  for (const std::int64_t rows : {1, 5, 6, 12, 13}) {
    for (const std::int64_t tokens : {16, 32, 48}) {
      constexpr std::int64_t kCols = 67;
      const std::vector<float> w = NormalVector(rows * kCols, 1),
                               xt = NormalVector(kCols * tokens, 2),
                               row_scale = NormalVector(rows, 3),
                               token_scale = NormalVector(tokens, 4);
      std::vector<float> out = NormalVector(rows * tokens, 5);
      std::vector<float> expected = out;
      for (std::int64_t i = 0; i < rows * tokens; ++i) {
        const std::int64_t r = i / tokens, t = i % tokens;
        float chain = 0;
        for (std::int64_t c = 0; c < kCols; ++c) {
          chain = std::fma(w[static_cast<std::size_t>(r * kCols + c)],
                           xt[static_cast<std::size_t>(c * tokens + t)], chain);
        }
        const float scale =
            row_scale[static_cast<std::size_t>(r)] * token_scale[static_cast<std::size_t>(t)];
        float& sum = expected[static_cast<std::size_t>(i)];
        sum = std::fma(chain, scale, sum);
      }
      kernels().multiply_panel({.w = w.data(),
                                .w_stride = kCols,
                                .rows = rows,
                                .cols = kCols,
                                .xt = xt.data(),
                                .xt_stride = tokens,
                                .tokens = tokens,
                                .row_scale = row_scale.data(),
                                .token_scale = token_scale.data(),
                                .out = out.data(),
                                .out_stride = tokens});
      ASSERT_TRUE(SameBits(out, expected)) << rows << " x " << tokens;
    }
  }
}

TEST_P(EveryInstructionSet, KeepsSubnormalsAndSignedZeros) {
  const std::vector<float> w = {0x1p-100f, 1.0f};
  std::vector<float> xt(32, 0x1p-40f);
  for (std::size_t t = 16; t < 32; ++t) xt[t] = 0x1p-149f;
  std::vector<float> out(16);
  kernels().multiply_panel({.w = w.data(),
                            .w_stride = 2,
                            .rows = 1,
                            .cols = 2,
                            .xt = xt.data(),
                            .xt_stride = 16,
                            .tokens = 16,
                            .accumulate = false,
                            .out = out.data(),
                            .out_stride = 16});
  EXPECT_EQ(out[0], 0x1p-140f + 0x1p-149f);
}

TEST_P(EveryInstructionSet, TransposesWordsOfAnyShape) {
  for (const std::int64_t rows : {1, 7, 8, 9, 32, 37}) {
    for (const std::int64_t cols : {1, 8, 15, 16, 33}) {
      const std::int64_t stride = rows + 2;
      // Numbers of any kind, NaNs that signal too.
      std::vector<std::uint32_t> from(static_cast<std::size_t>(rows * cols));
      for (std::size_t i = 0; i < from.size(); ++i) {
        from[i] = static_cast<std::uint32_t>(HashWords({1, i})) | (i % 3 == 0 ? 0x7F800000u : 0u);
      }
      std::vector<const void*> begins;
      for (std::int64_t r = 0; r < rows; ++r) begins.push_back(from.data() + r * cols);
      std::vector<std::uint32_t> to(static_cast<std::size_t>(cols * stride), 7);
      std::vector<std::uint32_t> expected = to;
      for (std::int64_t i = 0; i < rows * cols; ++i) {
        expected[static_cast<std::size_t>(i % cols * stride + i / cols)] =
            from[static_cast<std::size_t>(i)];
      }
      kernels().transpose(begins.data(), rows, cols, to.data(), stride);
      ASSERT_EQ(to, expected) << rows << " x " << cols;
    }
  }
}

TEST_P(EveryInstructionSet, ExponentialIsThatOfLongDoubleRoundedOnce) {
  std::vector<float> x;
  for (int i = 0; i < 200000; ++i) {
    x.push_back(static_cast<float>(-104 + 192.8 * UniformAt(9, static_cast<std::uint64_t>(i))));
  }
  for (int i = -1000; i <= 1000; ++i) x.push_back(static_cast<float>(i) * 0x1p-12f);
  std::vector<float> y = x;
  kernels().exponentials(static_cast<std::int64_t>(y.size()), y.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    // Within 1e-13 of the true value before the one rounding: both ends round to what was given,
    // or it is one of them.
    const long double truth = std::exp(static_cast<long double>(x[i]));
    const auto low = static_cast<float>(truth * (1 - 1e-13L));
    const auto high = static_cast<float>(truth * (1 + 1e-13L));
    ASSERT_TRUE(y[i] == low || y[i] == high) << x[i] << " " << y[i] << " " << low;
  }
}

TEST_P(EveryInstructionSet, ExponentialHandlesTheEnds) {
  std::vector<float> x = {0.0f, -0.0f, 89.0f, 1e30f, INFINITY, -104.5f, -1e30f, -INFINITY, NAN};
  kernels().exponentials(static_cast<std::int64_t>(x.size()), x.data());
  EXPECT_EQ(x[0], 1.0f);
  EXPECT_EQ(x[1], 1.0f);
  for (const std::size_t i : {2, 3, 4}) EXPECT_EQ(x[i], INFINITY);
  for (const std::size_t i : {5, 6, 7}) EXPECT_EQ(x[i], 0.0f);
  EXPECT_TRUE(std::isnan(x[8]));
}

TEST_P(EveryInstructionSet, SiluIsThatOfLongDouble) {
  std::vector<float> x = NormalVector(50000, 12);
  for (float& value : x) value *= 8;
  x.push_back(100.0f);
  x.push_back(-100.0f);
  x.push_back(0.0f);
  std::vector<float> y = x;
  kernels().silu(static_cast<std::int64_t>(y.size()), y.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const long double sigmoid = 1 / (1 + std::exp(-static_cast<long double>(x[i])));
    const float low = x[i] * static_cast<float>(sigmoid * (1 - 1e-13L));
    const float high = x[i] * static_cast<float>(sigmoid * (1 + 1e-13L));
    ASSERT_TRUE(y[i] == low || y[i] == high) << x[i];
  }
}

TEST_P(EveryInstructionSet, GivesThePortableBitsForTheElementwiseLoops) {
  const Kernels& portable = AvailableKernels().front();
  for (const std::int64_t count : {1, 7, 15, 16, 33, 100}) {
    std::vector<float> a = NormalVector(count, 1), b = a;
    kernels().exponentials(count, a.data());
    portable.exponentials(count, b.data());
    EXPECT_TRUE(SameBits(a, b));
    kernels().silu(count, a.data());
    portable.silu(count, b.data());
    EXPECT_TRUE(SameBits(a, b));
    const std::vector<float> left = NormalVector(count, 5), right = NormalVector(count, 6);
    kernels().multiply_add(left.data(), right.data(), count, a.data());
    portable.multiply_add(left.data(), right.data(), count, b.data());
    EXPECT_TRUE(SameBits(a, b));
  }
}

TEST_P(EveryInstructionSet, QuantizesToTheNearestE4m3OfTheLargestOver448) {
  for (const std::int64_t count : {1, 5, 16, 31, 128, 200}) {
    std::vector<float> x = NormalVector(count, 8);
    for (std::size_t i = 0; i < x.size(); i += 3) x[i] *= std::exp2(-static_cast<float>(i % 23));
    if (count == 5) x = {0, -0.0f, 0, 0, 0};
    float largest = 1e-10f;
    for (const float value : x) largest = std::max(largest, std::fabs(value));
    std::vector<float> codes(x.size());
    const float scale = kernels().quantize_e4m3(x.data(), count, codes.data());
    EXPECT_EQ(scale, largest / 448.0f);
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(codes[i], E4m3ToFloat(FloatToE4m3(x[i] / scale))) << count << " " << i;
    }
  }
  std::vector<float> codes(2);
  const float with_nan[] = {1.0f, NAN};
  EXPECT_TRUE(std::isnan(kernels().quantize_e4m3(with_nan, 2, codes.data())));
  EXPECT_TRUE(std::isnan(codes[0]) && std::isnan(codes[1]));
}

TEST_P(EveryInstructionSet, GivesThePortableBitsForTheDeltaRule) {
  for (const std::int64_t value_dim : {1, 8, 24, 32, 50}) {
    const std::int64_t key_dim = 19;
    const std::vector<float> q = NormalVector(key_dim, 1), k = NormalVector(key_dim, 2),
                             v = NormalVector(value_dim, 3);
    const auto run = [&](const Kernels& table) {
      std::vector<float> state = NormalVector(key_dim * value_dim, 4);
      std::vector<float> delta(v.size()), out(v.size());
      table.delta_step({.state = state.data(),
                        .key_dim = key_dim,
                        .value_dim = value_dim,
                        .decay = 0.9f,
                        .beta = 0.3f,
                        .q = q.data(),
                        .k = k.data(),
                        .v = v.data(),
                        .delta = delta.data(),
                        .out = out.data()});
      state.insert(state.end(), out.begin(), out.end());
      return state;
    };
    EXPECT_TRUE(SameBits(run(kernels()), run(AvailableKernels().front()))) << value_dim;
  }
}

// The operands of one bf16 product and the sums that its definition gives, one by one.
struct Bf16Case {
  std::int64_t rows, tokens, blocks, steps;
  std::vector<std::uint32_t> w, xt;

  Bf16Case(std::int64_t r, std::int64_t t, std::int64_t b, std::int64_t s, float spread)
      : rows(r), tokens(t), blocks(b), steps(s) {
    const auto draw = [&](std::int64_t count, std::uint64_t seed) {
      std::vector<std::uint32_t> words(static_cast<std::size_t>(count));
      for (std::size_t i = 0; i < words.size(); ++i) {
        const auto half = [&](std::uint64_t index) -> std::uint32_t {
          const double size = std::exp2(-spread * UniformAt(seed + 1, index));
          return FloatToBf16(static_cast<float>(NormalAt(seed, index) * size));
        };
        words[i] = half(2 * i) | half(2 * i + 1) << 16;
      }
      return words;
    };
    w = draw(rows * blocks * steps * kStepPairs, 1);
    xt = draw(blocks * steps * kStepPairs * kTokenPanel, 3);
  }
  // The value at `column` of a block, a subnormal being zero.
  static float Column(std::uint32_t pair, std::int64_t column) {
    const float value = Bf16ToFloat(static_cast<std::uint16_t>(pair >> (16 * (column % 2))));
    return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(0.0f, value) : value;
  }
  float W(std::int64_t r, std::int64_t b, std::int64_t c) const {
    const std::int64_t tile = r / 16 * blocks * steps + b * steps + c / 32;
    return Column(w[static_cast<std::size_t>(tile * 256 + r % 16 * 16 + c % 32 / 2)], c);
  }
  float X(std::int64_t t, std::int64_t b, std::int64_t c) const {
    const std::int64_t pair = b * steps * kStepPairs + c / 2;
    return Column(xt[static_cast<std::size_t>(pair * kTokenPanel + t)], c);
  }

  // Its outputs, from 77 on, with scales or without.
  std::vector<float> Run(void (*multiply)(const Bf16Product&), const std::vector<float>& row_scales,
                         const std::vector<float>& token_scales) const {
    std::vector<float> out(static_cast<std::size_t>(rows * kTokenPanel), 77.0f);
    multiply({.w = w.data(),
              .rows = rows,
              .xt = xt.data(),
              .tokens = tokens,
              .blocks = blocks,
              .block_steps = steps,
              .row_scales = row_scales.empty() ? nullptr : row_scales.data(),
              .row_scales_stride = rows + 5,
              .token_scales = token_scales.empty() ? nullptr : token_scales.data(),
              .token_scales_stride = kTokenPanel + 3,
              .out = out.data()});
    return out;
  }

  // `sum_of` (row, token, block).
  template <typename SumOf>
  void Expect(void (*multiply)(const Bf16Product&), SumOf sum_of) const {
    const bool scaled = blocks > 1;
    const std::vector<float> row_scales = NormalVector(scaled ? blocks * (rows + 5) : 0, 5),
                             token_scales =
                                 NormalVector(scaled ? blocks * (kTokenPanel + 3) : 0, 6);
    const std::vector<float> out = Run(multiply, row_scales, token_scales);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t t = 0; t < kTokenPanel; ++t) {
        float expected = 77.0f;
        for (std::int64_t b = 0; b < blocks && t < tokens; ++b) {
          const float sum = sum_of(r, t, b);
          if (!scaled) {
            expected = sum;
            continue;
          }
          const float scale = row_scales[static_cast<std::size_t>(b * (rows + 5) + r)] *
                              token_scales[static_cast<std::size_t>(b * (kTokenPanel + 3) + t)];
          expected = std::fma(sum, scale, expected);
        }
        ASSERT_EQ(out[static_cast<std::size_t>(r * kTokenPanel + t)], expected) << r << " " << t;
      }
    }
  }
};

float Flushed(float value) {
  return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(0.0f, value) : value;
}

std::vector<Bf16Case> Bf16Cases() {
  std::vector<Bf16Case> cases;
  for (const std::int64_t rows : {16, 32, 48}) {
    for (const std::int64_t tokens : {16, 32}) {
      for (const std::int64_t steps : {1, 3, 8, 17}) {
        for (const std::int64_t blocks : {1, 3}) {
          cases.emplace_back(rows, tokens, blocks, steps, 0.0f);
        }
      }
    }
  }
  for (const std::int64_t blocks : {1, 2}) {
    cases.emplace_back(16, 32, blocks, 5, 20.0f);   // sizes that leave no sum exact
    cases.emplace_back(16, 32, blocks, 5, 130.0f);  // subnormal operands, products and sums
  }
  return cases;
}

TEST_P(EveryInstructionSet, AmxProductChainsEvenAndOddColumnsOfAStep) {
  for (const Bf16Case& c : Bf16Cases()) {
    c.Expect(kernels().multiply_bf16_amx, [&](std::int64_t r, std::int64_t t, std::int64_t b) {
      float sum = 0;
      for (std::int64_t step = 0; step < c.steps; ++step) {
        float chains[2] = {0, 0};
        for (std::int64_t k = step * kStepColumns; k < (step + 1) * kStepColumns; ++k) {
          chains[k % 2] = Flushed(std::fma(c.W(r, b, k), c.X(t, b, k), chains[k % 2]));
        }
        sum = Flushed(sum + Flushed(chains[0] + chains[1]));
      }
      return sum;
    });
  }
}

TEST_P(EveryInstructionSet, Avx512Bf16ProductChainsOddBeforeEvenColumnsOfAPair) {
  for (const Bf16Case& c : Bf16Cases()) {
    c.Expect(kernels().multiply_bf16_avx512, [&](std::int64_t r, std::int64_t t, std::int64_t b) {
      float sum = 0;
      for (std::int64_t k = 0; k < c.steps * kStepColumns; k += 2) {
        sum = Flushed(std::fma(c.W(r, b, k + 1), c.X(t, b, k + 1), sum));
        sum = Flushed(std::fma(c.W(r, b, k), c.X(t, b, k), sum));
      }
      return sum;
    });
  }
}

INSTANTIATE_TEST_SUITE_P(All, EveryInstructionSet, ::testing::ValuesIn(kAllKernels),
                         [](const auto& instance) { return std::string(instance.param); });

TEST(AvailableKernels, AreAmongThoseTested) {
  for (const Kernels& table : AvailableKernels()) {
    EXPECT_NE(std::ranges::find(kAllKernels, table.name), std::end(kAllKernels)) << table.name;
  }
}

TEST(ActiveKernels, AreTheFastestUnlessForced) {
  EXPECT_EQ(ActiveKernels().name, AvailableKernels().back().name);
  SetActiveKernels("portable");
  EXPECT_EQ(ActiveKernels().name, "portable");
  SetActiveKernels(AvailableKernels().back().name);
  EXPECT_THROW(SetActiveKernels("sse9"), Error);
}

}  // namespace
}  // namespace cacheready
