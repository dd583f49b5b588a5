// Causal attention by blocks of queries. Scores and outputs are panel products, so each score is
// one chain over the head dimension and each output one chain over the keys in increasing order:
// masked keys have probability 0, and adding 0 * v leaves a chain's bits alone. The block size
// therefore cannot change a result.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/parallel.h"
#include "compute/kernels.h"
#include "compute/sequence_ops.h"

namespace cacheready {
namespace {

constexpr std::int64_t kQueryBlock = 48;

std::int64_t PadTokens(std::int64_t count) {
  return (count + kTokenPad - 1) / kTokenPad * kTokenPad;
}

// Rows [begin, end) of the columns [col, col + width) of a matrix.
struct HeadView {
  const Matrix& matrix;
  std::int64_t begin;
  std::int64_t end;
  std::int64_t col;
  std::int64_t width;

  std::int64_t tokens() const { return end - begin; }
  const float* row(std::int64_t t) const { return matrix.row(begin + t).data() + col; }
};

// Keys transposed to [head_dim][keys padded], and values with rows padded to whole vectors.
std::vector<float> TransposeKeys(const HeadView& k) {
  const std::int64_t stride = PadTokens(k.tokens());
  std::vector<float> transposed(static_cast<std::size_t>(k.width * stride));
  for (std::int64_t t = 0; t < k.tokens(); ++t) {
    const float* row = k.row(t);
    for (std::int64_t d = 0; d < k.width; ++d) {
      transposed[static_cast<std::size_t>(d * stride + t)] = row[d];
    }
  }
  return transposed;
}

std::vector<float> PadValues(const HeadView& v) {
  const std::int64_t stride = PadTokens(v.width);
  std::vector<float> padded(static_cast<std::size_t>(v.tokens() * stride));
  for (std::int64_t t = 0; t < v.tokens(); ++t) {
    std::copy_n(v.row(t), v.width, padded.data() + t * stride);
  }
  return padded;
}

// Scores of the keys [first, last] in `row` become unnormalized probabilities, 0 elsewhere in
// [0, stride). Returns their sum: keys in increasing order, then the sink.
float Softmax(std::span<float> row, std::int64_t first, std::int64_t last, const float* sink,
              const AttentionOptions& options) {
  float* begin = row.data() + first;
  float* end = row.data() + last + 1;
  float largest = sink != nullptr ? *sink : -std::numeric_limits<float>::infinity();
  for (float* score = begin; score < end; ++score) {
    *score *= options.scale;
    largest = std::max(largest, *score);
  }
  for (float* score = begin; score < end; ++score) *score -= largest;
  ActiveKernels().exponentials(end - begin, begin);
  float sum = 0;
  for (const float* p = begin; p < end; ++p) sum += *p;
  if (sink != nullptr) {
    float extra = *sink - largest;
    ActiveKernels().exponentials(1, &extra);
    sum += extra;
  }
  if (options.round_probabilities_bf16) RoundToBf16(std::span<float>(begin, end));
  std::fill(row.data(), begin, 0.0f);
  std::fill(end, row.data() + row.size(), 0.0f);
  return sum;
}

// The first key that a query sees, both counted from the start of the document.
std::int64_t FirstKey(std::int64_t query, const AttentionOptions& options) {
  std::int64_t first = 0;
  if (options.window > 0) first = std::max(first, query - options.window + 1);
  if (options.chunk > 0) first = std::max(first, query / options.chunk * options.chunk);
  return first;
}

void AttendHead(const HeadView& q, const HeadView& k, const HeadView& v, const float* sink,
                const AttentionOptions& options, std::int64_t out_col, Matrix& out) {
  const std::int64_t tokens = q.tokens();
  const std::int64_t key_stride = PadTokens(tokens);
  const std::int64_t value_stride = PadTokens(v.width);
  const std::vector<float> keys = TransposeKeys(k);
  const std::vector<float> values = PadValues(v);
  std::vector<float> scores(static_cast<std::size_t>(kQueryBlock * key_stride));
  std::vector<float> sums(static_cast<std::size_t>(kQueryBlock * value_stride));
  for (std::int64_t begin = 0; begin < tokens; begin += kQueryBlock) {
    const std::int64_t rows = std::min(kQueryBlock, tokens - begin);
    const std::int64_t visible = begin + rows;
    ActiveKernels().multiply_panel({.w = q.row(begin),
                                    .w_stride = q.matrix.cols(),
                                    .rows = rows,
                                    .cols = q.width,
                                    .xt = keys.data(),
                                    .xt_stride = key_stride,
                                    .tokens = PadTokens(visible),
                                    .accumulate = false,
                                    .out = scores.data(),
                                    .out_stride = key_stride});
    float total[kQueryBlock];
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t query = begin + r;
      const std::span<float> row(scores.data() + r * key_stride,
                                 static_cast<std::size_t>(PadTokens(visible)));
      total[r] = Softmax(row, FirstKey(query, options), query, sink, options);
    }
    ActiveKernels().multiply_panel({.w = scores.data(),
                                    .w_stride = key_stride,
                                    .rows = rows,
                                    .cols = visible,
                                    .xt = values.data(),
                                    .xt_stride = value_stride,
                                    .tokens = value_stride,
                                    .accumulate = false,
                                    .out = sums.data(),
                                    .out_stride = value_stride});
    for (std::int64_t r = 0; r < rows; ++r) {
      float* to = out.row(q.begin + begin + r).data() + out_col;
      const float* sum = sums.data() + r * value_stride;
      for (std::int64_t d = 0; d < v.width; ++d) to[d] = sum[d] / total[r];
    }
  }
}

}  // namespace

Matrix CausalAttention(const Matrix& q, const Matrix& k, const Matrix& v,
                       const AttentionOptions& options, DocumentBounds documents) {
  const std::int64_t heads = options.heads;
  const std::int64_t kv_heads = options.kv_heads;
  CR_CHECK(heads > 0 && kv_heads > 0 && heads % kv_heads == 0, "{} heads, {} kv heads", heads,
           kv_heads);
  CR_CHECK(q.cols() == heads * options.head_dim && k.cols() == kv_heads * options.head_dim &&
               v.cols() == kv_heads * options.value_dim,
           "q, k, v have {}, {}, {} columns", q.cols(), k.cols(), v.cols());
  CR_CHECK(options.sinks.empty() || static_cast<std::int64_t>(options.sinks.size()) == heads,
           "{} sinks for {} heads", options.sinks.size(), heads);
  CR_CHECK(!documents.empty() && documents.back() == q.rows() && k.rows() == q.rows() &&
               v.rows() == q.rows(),
           "document bounds of {} tokens", q.rows());
  Matrix out = Matrix::Uninitialized(q.rows(), heads * options.value_dim);
  const auto num_documents = static_cast<std::int64_t>(documents.size()) - 1;
  ParallelFor(num_documents * heads, [&](std::int64_t item) {
    const std::int64_t head = item % heads;
    const std::int64_t kv_head = head / (heads / kv_heads);
    const std::int64_t begin = documents[static_cast<std::size_t>(item / heads)];
    const std::int64_t end = documents[static_cast<std::size_t>(item / heads) + 1];
    const HeadView q_view{q, begin, end, head * options.head_dim, options.head_dim};
    const HeadView k_view{k, begin, end, kv_head * options.head_dim, options.head_dim};
    const HeadView v_view{v, begin, end, kv_head * options.value_dim, options.value_dim};
    const float* sink =
        options.sinks.empty() ? nullptr : &options.sinks[static_cast<std::size_t>(head)];
    AttendHead(q_view, k_view, v_view, sink, options, head * options.value_dim, out);
  });
  return out;
}

}  // namespace cacheready
