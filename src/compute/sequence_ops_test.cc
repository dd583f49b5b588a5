// Operators against their textbook form in double. SPDX-License-Identifier: Apache-2.0
#include "compute/sequence_ops.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/parallel.h"
#include "base/random.h"
#include "compute/kernels.h"
#include "compute/test_matrices.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

// Documents of 70, 1 and 29 tokens.
const std::vector<std::int64_t> kDocuments = {0, 70, 71, 100};

std::int64_t DocumentOf(std::int64_t token) { return token < 70 ? 0 : token < 71 ? 70 : 71; }

TEST(RmsNorm, DividesByTheRootMeanSquare) {
  const Matrix x = Normals(9, 50, 1), weight = Normals(1, 50, 2);
  for (const float offset : {0.0f, 1.0f}) {
    const Matrix y = RmsNorm(x, weight.row(0), 1e-6f, offset);
    for (std::int64_t t = 0; t < 9; ++t) {
      double squares = 0;
      for (const float value : x.row(t)) squares += double{value} * value;
      for (std::int64_t c = 0; c < 50; ++c) {
        const double expected = x.at(t, c) / std::sqrt(squares / 50 + double{1e-6f}) *
                                (double{offset} + weight.at(0, c));
        EXPECT_NEAR(y.at(t, c), expected, 0x1p-23 * std::fabs(expected));
      }
    }
  }
}

TEST(LayerNorm, CentresAndDividesByTheDeviation) {
  Matrix x = Normals(9, 50, 1);
  const Matrix weight = Normals(1, 50, 2), bias = Normals(1, 50, 3);
  for (float& value : x.values()) value += 3.0f;
  const Matrix y = LayerNorm(x, weight.row(0), bias.row(0), 1e-5f);
  for (std::int64_t t = 0; t < 9; ++t) {
    double mean = 0, variance = 0;
    for (const float value : x.row(t)) mean += double{value} / 50;
    for (const float value : x.row(t)) variance += (value - mean) * (value - mean) / 50;
    for (std::int64_t c = 0; c < 50; ++c) {
      const double expected =
          (x.at(t, c) - mean) / std::sqrt(variance + double{1e-5f}) * weight.at(0, c) +
          bias.at(0, c);
      EXPECT_NEAR(y.at(t, c), expected, 1e-6);
    }
  }
}

TEST(RmsNormSlices, NormsEachHeadAlone) {
  Matrix x = Normals(4, 24, 3);
  const Matrix weight = Normals(1, 8, 4);
  Matrix heads(12, 8);
  std::ranges::copy(x.values(), heads.values().begin());
  const Matrix expected = RmsNorm(heads, weight.row(0), 1e-5f, 1.0f);
  RmsNormSlices(x, 8, weight.row(0), 1e-5f, 1.0f);
  EXPECT_TRUE(std::ranges::equal(x.values(), expected.values()));
}

TEST(L2NormSlices, GivesUnitVectors) {
  Matrix x = Normals(4, 24, 5);
  const Matrix before = x;
  L2NormSlices(x, 8, 0.5f);
  for (std::int64_t t = 0; t < 4; ++t) {
    for (std::int64_t c = 0; c < 24; ++c) {
      double squares = 0;
      for (std::int64_t i = c / 8 * 8; i < c / 8 * 8 + 8; ++i) {
        squares += double{before.at(t, i)} * before.at(t, i);
      }
      EXPECT_NEAR(x.at(t, c), before.at(t, c) / std::sqrt(squares + 0.5), 1e-6);
    }
  }
}

// Columns [first, first + 6) of heads of 10 turn, the others stay.
void ExpectRotated(std::int64_t first, RotaryPairs pairs) {
  const std::vector<double> inv_freq = {1.0, 0.1, 0.001};
  Matrix x = Normals(100, 2 * 10, 6);
  const Matrix before = x;
  Rotate(x, {10, first, pairs, inv_freq, 1.25}, kDocuments);
  const bool halves = pairs == RotaryPairs::kHalves;
  for (std::int64_t t = 0; t < 100; ++t) {
    Matrix expected = before;
    for (const std::int64_t head : {first, 10 + first}) {
      for (std::int64_t i = 0; i < 3; ++i) {
        const double angle =
            static_cast<double>(t - DocumentOf(t)) * inv_freq[static_cast<std::size_t>(i)];
        const std::int64_t one = head + (halves ? i : 2 * i), two = one + (halves ? 3 : 1);
        const double a = before.at(t, one), b = before.at(t, two);
        expected.at(t, one) =
            static_cast<float>(1.25 * (a * std::cos(angle) - b * std::sin(angle)));
        expected.at(t, two) =
            static_cast<float>(1.25 * (b * std::cos(angle) + a * std::sin(angle)));
      }
    }
    for (std::int64_t c = 0; c < 20; ++c) EXPECT_NEAR(x.at(t, c), expected.at(t, c), 2e-6);
  }
}

TEST(Rotate, TurnsEachPairByItsPositionInTheDocument) {
  ExpectRotated(0, RotaryPairs::kHalves);
  ExpectRotated(4, RotaryPairs::kHalves);
  ExpectRotated(0, RotaryPairs::kNeighbours);
  ExpectRotated(3, RotaryPairs::kNeighbours);
}

// Softmax attention in double, one query at a time.
std::vector<double> NaiveAttention(const Matrix& q, const Matrix& k, const Matrix& v,
                                   const AttentionOptions& o, std::int64_t t, std::int64_t head) {
  const std::int64_t kv = head / (o.heads / o.kv_heads);
  std::int64_t first = DocumentOf(t);
  if (o.window > 0) first = std::max(first, t - o.window + 1);
  if (o.chunk > 0) first = std::max(first, t - (t - DocumentOf(t)) % o.chunk);
  std::vector<double> weights;
  double total = o.sinks.empty() ? 0 : std::exp(o.sinks[static_cast<std::size_t>(head)]);
  for (std::int64_t s = first; s <= t; ++s) {
    double score = 0;
    for (std::int64_t d = 0; d < o.head_dim; ++d) {
      score += double{q.at(t, head * o.head_dim + d)} * k.at(s, kv * o.head_dim + d);
    }
    weights.push_back(std::exp(score * o.scale));
    total += weights.back();
  }
  std::vector<double> out(static_cast<std::size_t>(o.value_dim));
  for (std::int64_t s = first; s <= t; ++s) {
    for (std::int64_t d = 0; d < o.value_dim; ++d) {
      out[static_cast<std::size_t>(d)] +=
          weights[static_cast<std::size_t>(s - first)] / total * v.at(s, kv * o.value_dim + d);
    }
  }
  return out;
}

TEST(CausalAttention, AgreesWithSoftmaxAttentionInDouble) {
  const std::vector<float> sinks = {0.5f, -1.0f, 2.0f, 0.0f};
  AttentionOptions plain{.heads = 4, .kv_heads = 2, .head_dim = 20, .value_dim = 11, .scale = 0.3f};
  AttentionOptions windowed = plain;
  windowed.window = 9;
  AttentionOptions chunked = plain;
  chunked.chunk = 13;
  AttentionOptions with_sinks = plain;
  with_sinks.sinks = sinks;
  const Matrix q = Normals(100, 80, 7), k = Normals(100, 40, 8), v = Normals(100, 22, 9);
  for (const AttentionOptions& options : {plain, windowed, chunked, with_sinks}) {
    const Matrix y = CausalAttention(q, k, v, options, kDocuments);
    for (std::int64_t t = 0; t < 100; ++t) {
      for (std::int64_t head = 0; head < 4; ++head) {
        const std::vector<double> expected = NaiveAttention(q, k, v, options, t, head);
        for (std::int64_t d = 0; d < 11; ++d) {
          EXPECT_NEAR(y.at(t, head * 11 + d), expected[static_cast<std::size_t>(d)], 3e-6);
        }
      }
    }
  }
}

TEST(CausalAttention, RoundsProbabilitiesBeforeTheSecondProduct) {
  // Two keys with scores 0 and s: out = (bf16(p0) v0 + bf16(p1) v1) / (p0 + p1).
  Matrix q(2, 1), k(2, 1), v(2, 1);
  q.at(1, 0) = 1;
  k.at(0, 0) = -0.7f;
  v.at(0, 0) = 3;
  v.at(1, 0) = 1;
  AttentionOptions options{.heads = 1, .kv_heads = 1, .head_dim = 1, .value_dim = 1};
  options.round_probabilities_bf16 = true;
  const Matrix y = CausalAttention(q, k, v, options, std::vector<std::int64_t>{0, 2});
  const auto p = static_cast<float>(std::exp(-0.7f));
  EXPECT_FLOAT_EQ(y.at(1, 0), (RoundToBf16(p) * 3 + 1) / (p + 1));
  EXPECT_NE(RoundToBf16(p), p);
}

TEST(CausalAttention, DependsNeitherOnThreadsNorOnLaterTokensNorOnOtherDocuments) {
  const AttentionOptions options{
      .heads = 4, .kv_heads = 2, .head_dim = 20, .value_dim = 11, .scale = 0.3f};
  const Matrix q = Normals(100, 80, 7), k = Normals(100, 40, 8), v = Normals(100, 22, 9);
  const Matrix whole = CausalAttention(q, k, v, options, kDocuments);
  const int threads = NumThreads();
  SetNumThreads(3);
  EXPECT_TRUE(SameBits(CausalAttention(q, k, v, options, kDocuments), whole));
  SetNumThreads(threads);
  // A prefix of the first document alone.
  std::vector<std::int32_t> prefix(53);
  for (std::size_t i = 0; i < prefix.size(); ++i) prefix[i] = static_cast<std::int32_t>(i);
  const Matrix part =
      CausalAttention(GatherRows(q, prefix), GatherRows(k, prefix), GatherRows(v, prefix), options,
                      std::vector<std::int64_t>{0, 53});
  EXPECT_EQ(0,
            std::memcmp(part.values().data(), whole.values().data(), part.values().size_bytes()));
}

TEST(CausalConvolution, LooksBackWithinTheDocumentOnly) {
  const Matrix x = Normals(100, 5, 10), kernel = Normals(5, 4, 11), bias = Normals(1, 5, 12);
  const Matrix y = CausalConvolution(x, kernel.values(), 4, bias.row(0), kDocuments);
  for (std::int64_t t = 0; t < 100; ++t) {
    for (std::int64_t c = 0; c < 5; ++c) {
      double expected = bias.at(0, c);
      for (std::int64_t j = 0; j < 4; ++j) {
        if (t - 3 + j >= DocumentOf(t)) expected += double{kernel.at(c, j)} * x.at(t - 3 + j, c);
      }
      EXPECT_NEAR(y.at(t, c), expected, 2e-6);
    }
  }
}

TEST(GatedDeltaRule, AgreesWithTheRecurrenceInDouble) {
  const DeltaRuleShape shape{.key_heads = 2, .value_heads = 4, .key_dim = 6, .value_dim = 5};
  Matrix q = Normals(100, 12, 13), k = Normals(100, 12, 14);
  const Matrix v = Normals(100, 20, 15);
  Matrix g = Normals(100, 4, 16), beta = Normals(100, 4, 17);
  L2NormSlices(q, 6, 1e-6f);
  L2NormSlices(k, 6, 1e-6f);
  for (float& value : g.values()) value = -std::fabs(value) * 0.2f;
  for (float& value : beta.values()) value = 1 / (1 + std::exp(-value));
  const Matrix y = GatedDeltaRule(q, k, v, g, beta, shape, kDocuments);
  for (std::int64_t head = 0; head < 4; ++head) {
    double state[6][5] = {};
    for (std::int64_t t = 0; t < 100; ++t) {
      if (DocumentOf(t) == t) std::memset(state, 0, sizeof(state));
      const std::int64_t key = head / 2 * 6;
      for (auto& row : state) {
        for (double& value : row) value *= std::exp(double{g.at(t, head)});
      }
      for (std::int64_t j = 0; j < 5; ++j) {
        double read = 0;
        for (std::int64_t i = 0; i < 6; ++i) read += state[i][j] * k.at(t, key + i);
        const double delta = beta.at(t, head) * (v.at(t, head * 5 + j) - read);
        double out = 0;
        for (std::int64_t i = 0; i < 6; ++i) {
          state[i][j] += k.at(t, key + i) * delta;
          out += state[i][j] * q.at(t, key + i);
        }
        EXPECT_NEAR(y.at(t, head * 5 + j), out, 2e-5) << t;
      }
    }
  }
}

TEST(SelectiveScan, AgreesWithTheRecurrenceInDouble) {
  constexpr std::int64_t kChannels = 37, kStates = 6;
  const Matrix x = Normals(100, kChannels, 21), b = Normals(100, kStates, 22),
               c = Normals(100, kStates, 23), d = Normals(1, kChannels, 24);
  Matrix step = Normals(100, kChannels, 25), a = Normals(kChannels, kStates, 26);
  for (float& value : step.values()) value = std::fabs(value);
  for (float& value : a.values()) value = -std::fabs(value);
  const Matrix y = SelectiveScan({x, step, a.values(), b, c, d.row(0)}, kDocuments);
  for (std::int64_t channel = 0; channel < kChannels; ++channel) {
    double state[kStates] = {};
    for (std::int64_t t = 0; t < 100; ++t) {
      if (DocumentOf(t) == t) std::memset(state, 0, sizeof(state));
      double out = double{d.at(0, channel)} * x.at(t, channel);
      for (std::int64_t n = 0; n < kStates; ++n) {
        state[n] *= std::exp(double{a.at(channel, n)} * step.at(t, channel));
        state[n] += double{step.at(t, channel)} * b.at(t, n) * x.at(t, channel);
        out += state[n] * c.at(t, n);
      }
      EXPECT_NEAR(y.at(t, channel), out, 2e-5) << t;
    }
  }
}

TEST(SelectiveScan, DependsNeitherOnThreadsNorOnOtherChannels) {
  const Matrix x = Normals(100, 70, 27), b = Normals(100, 4, 30), d = Normals(1, 70, 31);
  Matrix step = Normals(100, 70, 28), a = Normals(70, 4, 29);
  for (float& value : step.values()) value = std::fabs(value);
  for (float& value : a.values()) value = -std::fabs(value);
  const Matrix whole = SelectiveScan({x, step, a.values(), b, b, d.row(0)}, kDocuments);
  const int threads = NumThreads();
  SetNumThreads(3);
  EXPECT_TRUE(SameBits(SelectiveScan({x, step, a.values(), b, b, d.row(0)}, kDocuments), whole));
  SetNumThreads(threads);
  Matrix one_x(100, 1), one_step(100, 1);
  for (std::int64_t t = 0; t < 100; ++t) {
    one_x.at(t, 0) = x.at(t, 41);
    one_step.at(t, 0) = step.at(t, 41);
  }
  const Matrix alone =
      SelectiveScan({one_x, one_step, a.row(41), b, b, d.row(0).subspan(41, 1)}, kDocuments);
  for (std::int64_t t = 0; t < 100; ++t) EXPECT_EQ(alone.at(t, 0), whole.at(t, 41));
}

TEST(RoundToBf16, AgreesWithTheScalarConversion) {
  std::vector<float> values = {0.0f,     -0.0f,  1.0f,     1.00390625f, 1.01171875f,
                               -3.4e38f, 1e-40f, INFINITY, -INFINITY,   NAN};
  for (int i = 0; i < 1000; ++i) {
    values.push_back(static_cast<float>(NormalAt(18, static_cast<std::uint64_t>(i))));
  }
  std::vector<float> rounded = values;
  RoundToBf16(std::span<float>(rounded));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float expected = RoundToBf16(values[i]);
    EXPECT_EQ(0, std::memcmp(&rounded[i], &expected, sizeof(float))) << values[i];
  }
}

TEST(RequireFinite, NamesThePlaceOfTheFirstBadValue) {
  Matrix x(3, 4);
  EXPECT_NO_THROW(RequireFinite(x, "layer 3"));
  x.at(0, 0) = std::numeric_limits<float>::max();
  x.at(0, 1) = std::numeric_limits<float>::max();
  EXPECT_NO_THROW(RequireFinite(x, "layer 3"));
  x.at(1, 2) = INFINITY;
  EXPECT_THAT([&] { RequireFinite(x, "layer 3"); },
              ::testing::ThrowsMessage<Error>(
                  ::testing::HasSubstr("layer 3: token 1, column 2 is infinite")));
  x.at(1, 1) = NAN;
  EXPECT_THAT([&] { RequireFinite(x, "layer 3"); },
              ::testing::ThrowsMessage<Error>(::testing::HasSubstr("column 1 is NaN")));
}

TEST(Distances, AreTakenInDouble) {
  const std::vector<float> a = {1e20f, 3.0f}, b = {1e20f, -1.0f};
  EXPECT_EQ(SquaredDistance(a, b), 16.0);
  EXPECT_EQ(Dot(std::vector<float>{3, 4}, std::vector<float>{2, -1}), 2.0);
  EXPECT_EQ(SquaredNorm(std::vector<float>{1e-30f, 1e10f}), double{1e10f} * 1e10f + 0.0);
}

TEST(Distances, OfManyRowsAreThoseOfEach) {
  for (const std::int64_t rows : {0, 1, 7, 8, 19}) {
    const Matrix a = Normals(rows, 133, 21), b = Normals(rows, 133, 22);
    const std::vector<double> norms = SquaredNorms(a), distances = SquaredDistances(a, b);
    ASSERT_EQ(norms.size(), static_cast<std::size_t>(rows));
    for (std::int64_t r = 0; r < rows; ++r) {
      EXPECT_EQ(norms[static_cast<std::size_t>(r)], SquaredNorm(a.row(r)));
      EXPECT_EQ(distances[static_cast<std::size_t>(r)], SquaredDistance(a.row(r), b.row(r)));
    }
  }
}

TEST(AddInto, AddsElementwise) {
  Matrix a = Normals(3, 4, 19);
  const Matrix before = a, b = Normals(3, 4, 20);
  AddInto(a, b);
  for (std::size_t i = 0; i < 12; ++i) {
    EXPECT_EQ(a.values()[i], before.values()[i] + b.values()[i]);
  }
}

}  // namespace
}  // namespace cacheready
