// Operators that walk over the tokens of a document: causal convolution, gated delta rule.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"
#include "compute/kernels.h"
#include "compute/sequence_ops.h"

namespace cacheready {

// Each output is the chain over the kernel positions in increasing order from 0, then the bias.
Matrix CausalConvolution(const Matrix& x, std::span<const float> kernel, std::int64_t width,
                         std::span<const float> bias, DocumentBounds documents) {
  const std::int64_t channels = x.cols();
  CR_CHECK(static_cast<std::int64_t>(kernel.size()) == channels * width,
           "{} kernel weights for {} channels", kernel.size(), channels);
  CR_CHECK(bias.empty() || static_cast<std::int64_t>(bias.size()) == channels,
           "{} biases for {} channels", bias.size(), channels);
  CR_CHECK(!documents.empty() && documents.back() == x.rows(), "document bounds of {} tokens",
           x.rows());
  Matrix taps(width, channels);
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t j = 0; j < width; ++j) {
      taps.at(j, c) = kernel[static_cast<std::size_t>(c * width + j)];
    }
  }
  Matrix y(x.rows(), channels);
  ParallelFor(x.rows(), [&](std::int64_t t) {
    const std::int64_t document =
        *std::prev(std::upper_bound(documents.begin(), documents.end(), t));
    const std::span<float> out = y.row(t);
    for (std::int64_t j = 0; j < width; ++j) {
      const std::int64_t source = t - (width - 1) + j;
      if (source < document) continue;
      ActiveKernels().multiply_add(taps.row(j).data(), x.row(source).data(), channels, out.data());
    }
    for (std::size_t c = 0; c < bias.size(); ++c) out[c] += bias[c];
  });
  return y;
}

Matrix GatedDeltaRule(const Matrix& q, const Matrix& k, const Matrix& v, const Matrix& g,
                      const Matrix& beta, const DeltaRuleShape& shape, DocumentBounds documents) {
  const std::int64_t value_heads = shape.value_heads;
  CR_CHECK(shape.key_heads > 0 && value_heads % shape.key_heads == 0, "{} key, {} value heads",
           shape.key_heads, value_heads);
  CR_CHECK(q.cols() == shape.key_heads * shape.key_dim && k.cols() == q.cols() &&
               v.cols() == value_heads * shape.value_dim && g.cols() == value_heads &&
               beta.cols() == value_heads,
           "q, k, v, g, beta have {}, {}, {}, {}, {} columns", q.cols(), k.cols(), v.cols(),
           g.cols(), beta.cols());
  CR_CHECK(!documents.empty() && documents.back() == q.rows(), "document bounds of {} tokens",
           q.rows());
  Matrix out(q.rows(), value_heads * shape.value_dim);
  const auto num_documents = static_cast<std::int64_t>(documents.size()) - 1;
  ParallelFor(num_documents * value_heads, [&](std::int64_t item) {
    const std::int64_t head = item % value_heads;
    const std::int64_t key_col = head / (value_heads / shape.key_heads) * shape.key_dim;
    const std::int64_t value_col = head * shape.value_dim;
    const auto document = static_cast<std::size_t>(item / value_heads);
    std::vector<float> state(static_cast<std::size_t>(shape.key_dim * shape.value_dim));
    std::vector<float> delta(static_cast<std::size_t>(shape.value_dim));
    for (std::int64_t t = documents[document]; t < documents[document + 1]; ++t) {
      float decay = g.at(t, head);
      ActiveKernels().exponentials(1, &decay);
      ActiveKernels().delta_step({.state = state.data(),
                                  .key_dim = shape.key_dim,
                                  .value_dim = shape.value_dim,
                                  .decay = decay,
                                  .beta = beta.at(t, head),
                                  .q = q.row(t).data() + key_col,
                                  .k = k.row(t).data() + key_col,
                                  .v = v.row(t).data() + value_col,
                                  .delta = delta.data(),
                                  .out = out.row(t).data() + value_col});
    }
  });
  return out;
}

}  // namespace cacheready
