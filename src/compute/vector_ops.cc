// Norms, rotary embedding and elementwise operators.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <functional>
#include <vector>

#include "base/error.h"
#include "base/math.h"
#include "base/parallel.h"
#include "compute/kernels.h"
#include "compute/sequence_ops.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

// Elements a ParallelFor body handles at least: below it, waking a thread costs more.
constexpr std::int64_t kGrain = 1 << 14;

void ForEachChunk(std::span<float> x, const std::function<void(std::span<float>)>& body) {
  const auto size = static_cast<std::int64_t>(x.size());
  if (size <= kGrain) return body(x);
  ParallelFor((size + kGrain - 1) / kGrain, [&](std::int64_t chunk) {
    const std::int64_t begin = chunk * kGrain;
    body(x.subspan(static_cast<std::size_t>(begin),
                   static_cast<std::size_t>(std::min(kGrain, size - begin))));
  });
}

// Chains that run side by side: one alone waits for each of its additions.
constexpr std::int64_t kChains = 8;

// sums[r] of `rows` rows of `cols` columns: term(of row r)(column c), in increasing c.
template <typename TermOfRow>
std::vector<double> SumRows(std::int64_t rows, std::int64_t cols, TermOfRow term_of_row) {
  using Term = decltype(term_of_row(std::int64_t{0}));
  std::vector<double> sums(static_cast<std::size_t>(rows));
  for (std::int64_t first = 0; first < rows; first += kChains) {
    const std::int64_t count = std::min(kChains, rows - first);
    std::array<Term, kChains> terms;
    for (std::size_t l = 0; l < kChains; ++l) {
      terms[l] = term_of_row(first + std::min(static_cast<std::int64_t>(l), count - 1));
    }
    double chains[kChains] = {};
    for (std::int64_t c = 0; c < cols; ++c) {
      for (std::size_t l = 0; l < kChains; ++l) chains[l] += terms[l](c);
    }
    std::copy_n(chains, count, sums.begin() + first);
  }
  return sums;
}

struct SquareTerm {
  const float* x = nullptr;
  double operator()(std::int64_t c) const {
    const auto value = static_cast<double>(x[c]);
    return value * value;
  }
};

struct DistanceTerm {
  const float *a = nullptr, *b = nullptr;
  double operator()(std::int64_t c) const {
    const double difference = static_cast<double>(a[c]) - static_cast<double>(b[c]);
    return difference * difference;
  }
};

void CheckSlices(const Matrix& x, std::int64_t width) {
  CR_CHECK(width > 0 && x.cols() % width == 0, "{} columns in slices of {}", x.cols(), width);
}

// Calls body(begin, |slice|^2) for every slice of `width` values of x, which begins at `begin`.
template <typename Body>
void ForEachSlice(const Matrix& x, std::int64_t width, Body body) {
  CheckSlices(x, width);
  const float* values = x.values().data();
  const std::int64_t slices = x.rows() * (x.cols() / width);
  const std::int64_t each = std::max(kChains, kGrain / width);
  ParallelFor((slices + each - 1) / each, [&](std::int64_t task) {
    const std::int64_t first = task * each, count = std::min(each, slices - first);
    const std::vector<double> squares = SumRows(
        count, width, [&](std::int64_t s) { return SquareTerm{values + (first + s) * width}; });
    for (std::int64_t s = 0; s < count; ++s) {
      body(static_cast<std::size_t>((first + s) * width), squares[static_cast<std::size_t>(s)]);
    }
  });
}

// y may be x. In double throughout, rounded once.
void NormSlices(const Matrix& x, std::int64_t width, std::span<const float> weight, float eps,
                float offset, Matrix& y) {
  CR_CHECK(static_cast<std::int64_t>(weight.size()) == width, "{} weights, {} columns",
           weight.size(), width);
  ForEachSlice(x, width, [&](std::size_t begin, double squares) {
    const double mean = squares / static_cast<double>(width);
    const double inverse = 1.0 / std::sqrt(mean + static_cast<double>(eps));
    const float* from = x.values().data() + begin;
    float* to = y.values().data() + begin;
    for (std::size_t i = 0; i < weight.size(); ++i) {
      const double gain = static_cast<double>(offset) + static_cast<double>(weight[i]);
      to[i] = static_cast<float>(static_cast<double>(from[i]) * inverse * gain);
    }
  });
}

}  // namespace

Matrix RmsNorm(const Matrix& x, std::span<const float> weight, float eps, float offset) {
  Matrix y = Matrix::Uninitialized(x.rows(), x.cols());
  NormSlices(x, x.cols(), weight, eps, offset, y);
  return y;
}

Matrix LayerNorm(const Matrix& x, std::span<const float> weight, std::span<const float> bias,
                 float eps) {
  CR_CHECK(static_cast<std::int64_t>(weight.size()) == x.cols() && bias.size() == weight.size(),
           "{} weights and {} biases, {} columns", weight.size(), bias.size(), x.cols());
  Matrix y = Matrix::Uninitialized(x.rows(), x.cols());
  // In double throughout, rounded once.
  ForEachRow(x, [&](std::int64_t r) {
    const std::span<const float> row = x.row(r);
    const auto width = static_cast<double>(row.size());
    double sum = 0, squares = 0;
    for (const float value : row) sum += static_cast<double>(value);
    const double mean = sum / width;
    for (const float value : row) {
      const double centred = static_cast<double>(value) - mean;
      squares += centred * centred;
    }
    const double inverse = 1.0 / std::sqrt(squares / width + static_cast<double>(eps));
    for (std::size_t i = 0; i < row.size(); ++i) {
      const double normed = (static_cast<double>(row[i]) - mean) * inverse;
      y.row(r)[i] = static_cast<float>(normed * static_cast<double>(weight[i]) +
                                       static_cast<double>(bias[i]));
    }
  });
  return y;
}

void RmsNormSlices(Matrix& x, std::int64_t width, std::span<const float> weight, float eps,
                   float offset) {
  NormSlices(x, width, weight, eps, offset, x);
}

void L2NormSlices(Matrix& x, std::int64_t width, float eps) {
  ForEachSlice(x, width, [&](std::size_t begin, double squares) {
    const double inverse = 1.0 / std::sqrt(squares + static_cast<double>(eps));
    for (float& value : x.values().subspan(begin, static_cast<std::size_t>(width))) {
      value = static_cast<float>(static_cast<double>(value) * inverse);
    }
  });
}

namespace {

// cos and sin of every position of the longest document, [positions, pairs].
struct RotationTable {
  Matrix cosines, sines;

  RotationTable(const Rotation& rotation, DocumentBounds documents) {
    std::int64_t longest = 0;
    for (std::size_t d = 0; d + 1 < documents.size(); ++d) {
      longest = std::max(longest, documents[d + 1] - documents[d]);
    }
    cosines = Matrix::Uninitialized(longest, static_cast<std::int64_t>(rotation.inv_freq.size()));
    sines = Matrix::Uninitialized(longest, cosines.cols());
    ForEachRow(cosines, [&](std::int64_t position) {
      for (std::int64_t i = 0; i < cosines.cols(); ++i) {
        const double angle =
            static_cast<double>(position) * rotation.inv_freq[static_cast<std::size_t>(i)];
        cosines.at(position, i) = static_cast<float>(Cos(angle) * rotation.factor);
        sines.at(position, i) = static_cast<float>(Sin(angle) * rotation.factor);
      }
    });
  }
};

// Columns of pair i: i * step and that + distance.
void RotateHead(float* columns, std::span<const float> cosine, std::span<const float> sine,
                std::size_t step, std::size_t distance) {
  for (std::size_t i = 0; i < cosine.size(); ++i) {
    const float a = columns[i * step];
    const float b = columns[i * step + distance];
    columns[i * step] = a * cosine[i] - b * sine[i];
    columns[i * step + distance] = b * cosine[i] + a * sine[i];
  }
}

}  // namespace

void Rotate(Matrix& x, const Rotation& rotation, DocumentBounds documents) {
  CheckSlices(x, rotation.head_dim);
  const std::size_t pairs = rotation.inv_freq.size();
  CR_CHECK(rotation.first + 2 * static_cast<std::int64_t>(pairs) <= rotation.head_dim,
           "{} frequencies from column {} on in heads of {}", pairs, rotation.first,
           rotation.head_dim);
  CR_CHECK(!documents.empty() && documents.back() == x.rows(), "document bounds of {} tokens",
           x.rows());
  const RotationTable table(rotation, documents);
  const bool halves = rotation.pairs == RotaryPairs::kHalves;
  const std::size_t step = halves ? 1 : 2, distance = halves ? pairs : 1;
  ForEachRow(x, [&](std::int64_t t) {
    const auto after = std::upper_bound(documents.begin(), documents.end(), t);
    const std::int64_t position = t - *std::prev(after);
    for (std::int64_t head = 0; head < x.cols(); head += rotation.head_dim) {
      RotateHead(x.row(t).data() + head + rotation.first, table.cosines.row(position),
                 table.sines.row(position), step, distance);
    }
  });
}

void Silu(std::span<float> x) {
  ForEachChunk(x, [](std::span<float> chunk) {
    ActiveKernels().silu(static_cast<std::int64_t>(chunk.size()), chunk.data());
  });
}

void Sigmoid(std::span<float> x) {
  ForEachChunk(x, [](std::span<float> chunk) {
    for (float& value : chunk) value = SigmoidF(value);
  });
}

void Scale(float factor, std::span<float> x) {
  ForEachChunk(x, [factor](std::span<float> chunk) {
    for (float& value : chunk) value *= factor;
  });
}

namespace {

// combine(value of dest, value of source) for all of them.
template <typename Combine>
void CombineInto(Matrix& dest, const Matrix& source, Combine combine) {
  CR_CHECK(dest.rows() == source.rows() && dest.cols() == source.cols(), "[{}, {}] and [{}, {}]",
           dest.rows(), dest.cols(), source.rows(), source.cols());
  ForEachRow(dest, [&](std::int64_t r) {
    const std::span<float> to = dest.row(r);
    const std::span<const float> from = source.row(r);
    for (std::size_t i = 0; i < to.size(); ++i) combine(to[i], from[i]);
  });
}

}  // namespace

void AddInto(Matrix& dest, const Matrix& source) {
  CombineInto(dest, source, [](float& to, float from) { to += from; });
}

void MultiplyInto(Matrix& dest, const Matrix& factors) {
  CombineInto(dest, factors, [](float& to, float from) { to *= from; });
}

void RoundToBf16(std::span<float> x) {
  ForEachChunk(x, [](std::span<float> chunk) {
    ActiveKernels().round_bf16(static_cast<std::int64_t>(chunk.size()), chunk.data());
  });
}

void RequireFinite(const Matrix& x, const char* where) {
  std::atomic<bool> finite = true;
  ForEachRow(x, [&](std::int64_t r) {
    if (!AllFinite(x.row(r))) finite = false;
  });
  if (finite) return;
  for (std::int64_t r = 0; r < x.rows(); ++r) {
    for (std::int64_t c = 0; c < x.cols(); ++c) {
      if (std::isfinite(x.at(r, c))) continue;
      Fail("{}: token {}, column {} is {}: the weights or an earlier layer overflow", where, r, c,
           std::isnan(x.at(r, c)) ? "NaN" : "infinite");
    }
  }
}

std::vector<double> SquaredNorms(const RowsView& x) {
  return SumRows(x.rows(), x.cols(), [&](std::int64_t r) { return SquareTerm{x.row(r).data()}; });
}

std::vector<double> SquaredDistances(const RowsView& a, const RowsView& b) {
  CR_CHECK(a.rows() == b.rows() && a.cols() == b.cols(), "[{}, {}] and [{}, {}]", a.rows(),
           a.cols(), b.rows(), b.cols());
  return SumRows(a.rows(), a.cols(), [&](std::int64_t r) {
    return DistanceTerm{a.row(r).data(), b.row(r).data()};
  });
}

double SquaredNorm(std::span<const float> x) { return Dot(x, x); }

double SquaredDistance(std::span<const float> a, std::span<const float> b) {
  CR_CHECK(a.size() == b.size(), "vectors of {} and {}", a.size(), b.size());
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += difference * difference;
  }
  return sum;
}

double Dot(std::span<const float> a, std::span<const float> b) {
  CR_CHECK(a.size() == b.size(), "vectors of {} and {}", a.size(), b.size());
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  }
  return sum;
}

}  // namespace cacheready
