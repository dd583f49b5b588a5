// Operators that walk over the tokens of a document: causal convolution, gated delta rule,
// selective scan.
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
  Matrix y = Matrix::Uninitialized(x.rows(), channels);
  ParallelFor(x.rows(), [&](std::int64_t t) {
    const std::int64_t document =
        *std::prev(std::upper_bound(documents.begin(), documents.end(), t));
    const std::span<float> out = y.row(t);
    std::ranges::fill(out, 0.0f);
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
  Matrix out = Matrix::Uninitialized(q.rows(), value_heads * shape.value_dim);
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

namespace {

// Channels that one task carries through a document: their states share one call of the
// exponentials.
constexpr std::int64_t kScanChannels = 32;

// `states` numbers a channel in `state` and `decay`.
void ScanToken(const SelectiveScanInput& input, std::int64_t t, std::int64_t first,
               std::span<float> state, std::span<float> decay, std::span<float> y) {
  const std::span<const float> b = input.b.row(t), c = input.c.row(t);
  const std::size_t states = b.size();
  const std::span<const float> a = input.a.subspan(static_cast<std::size_t>(first) * states);
  const float* x = input.x.row(t).data() + first;
  const float* step = input.step.row(t).data() + first;
  for (std::size_t n = 0; n < decay.size(); ++n) decay[n] = a[n] * step[n / states];
  ActiveKernels().exponentials(static_cast<std::int64_t>(decay.size()), decay.data());
  for (std::size_t channel = 0; channel < y.size(); ++channel) {
    float* s = state.data() + channel * states;
    float sum = 0;
    for (std::size_t n = 0; n < states; ++n) {
      s[n] = s[n] * decay[channel * states + n] + step[channel] * b[n] * x[channel];
      sum += s[n] * c[n];
    }
    y[channel] = sum + input.d[static_cast<std::size_t>(first) + channel] * x[channel];
  }
}

}  // namespace

Matrix SelectiveScan(const SelectiveScanInput& input, DocumentBounds documents) {
  const std::int64_t channels = input.x.cols(), states = input.b.cols();
  CR_CHECK(input.step.cols() == channels && input.c.cols() == states &&
               static_cast<std::int64_t>(input.a.size()) == channels * states &&
               static_cast<std::int64_t>(input.d.size()) == channels,
           "{} channels of {} states", channels, states);
  CR_CHECK(!documents.empty() && documents.back() == input.x.rows(), "document bounds of {} tokens",
           input.x.rows());
  Matrix y(input.x.rows(), channels);
  const std::int64_t blocks = (channels + kScanChannels - 1) / kScanChannels;
  const auto num_documents = static_cast<std::int64_t>(documents.size()) - 1;
  ParallelFor(num_documents * blocks, [&](std::int64_t item) {
    const std::int64_t first = item % blocks * kScanChannels;
    const auto count = static_cast<std::size_t>(std::min(kScanChannels, channels - first));
    const auto document = static_cast<std::size_t>(item / blocks);
    std::vector<float> state(count * static_cast<std::size_t>(states));
    std::vector<float> decay(state.size());
    for (std::int64_t t = documents[document]; t < documents[document + 1]; ++t) {
      ScanToken(input, t, first, state, decay,
                y.row(t).subspan(static_cast<std::size_t>(first), count));
    }
  });
  return y;
}

}  // namespace cacheready
