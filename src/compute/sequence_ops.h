// The operators of a decoder layer that are not matrix products. Reductions run in increasing
// index, in fp32 unless said. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/matrix.h"

namespace cacheready {

// First token of each document, then the number of tokens: [documents + 1], ascending from 0.
using DocumentBounds = std::span<const std::int64_t>;

// y = x / sqrt(mean(x^2) + eps) * (offset + weight), per row; offset 1 for zero-centred weights.
Matrix RmsNorm(const Matrix& x, std::span<const float> weight, float eps, float offset);
// y = (x - mean) / sqrt(mean((x - mean)^2) + eps) * weight + bias, per row.
Matrix LayerNorm(const Matrix& x, std::span<const float> weight, std::span<const float> bias,
                 float eps);
// RmsNorm over each consecutive slice of `width` columns of a row (per-head norms); weight has
// `width` entries.
void RmsNormSlices(Matrix& x, std::int64_t width, std::span<const float> weight, float eps,
                   float offset);
// x / sqrt(sum(x^2) + eps) over slices of `width`.
void L2NormSlices(Matrix& x, std::int64_t width, float eps);

// Which two of the rotated columns of a head turn together.
enum class RotaryPairs : std::uint8_t {
  kHalves,      // i and i + half of them (rotate_half)
  kNeighbours,  // 2 i and 2 i + 1 (complex numbers)
};
// Rotary embedding of two columns a frequency, from column `first` of each head of `head_dim`
// columns on; position of a token = its index in its document.
struct Rotation {
  std::int64_t head_dim = 0;
  std::int64_t first = 0;
  RotaryPairs pairs = RotaryPairs::kHalves;
  std::span<const double> inv_freq = {};
  double factor = 1;  // on cos and sin (YaRN)
};
void Rotate(Matrix& x, const Rotation& rotation, DocumentBounds documents);

// Causal attention per document. q [tokens, heads * head_dim], k [tokens, kv_heads * head_dim], v
// [tokens, kv_heads * value_dim].
struct AttentionOptions {
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0, value_dim = 0;
  float scale = 1;
  std::int64_t window = 0;                // 0 = full; else key > query - window
  std::int64_t chunk = 0;                 // 0 = full; else key / chunk == query / chunk
  std::span<const float> sinks = {};      // one extra logit a head, its probability dropped
  bool round_probabilities_bf16 = false;  // probabilities (unnormalized, max subtracted) rounded
                                          // before P.V, as flash kernels do
};
Matrix CausalAttention(const Matrix& q, const Matrix& k, const Matrix& v,
                       const AttentionOptions& options,
                       DocumentBounds documents);  // [tokens, heads * value_dim]

// Depthwise causal convolution over time, kernel [channels, width], zero left padding per document,
// optional bias.
Matrix CausalConvolution(const Matrix& x, std::span<const float> kernel, std::int64_t width,
                         std::span<const float> bias, DocumentBounds documents);

// Gated DeltaNet, recurrent form (Yang et al. 2024; facts as in transformers'
// torch_recurrent_gated_delta_rule): per value head S <- S exp(g_t); d = beta_t (v_t - S^T k_t); S
// <- S + k_t d^T; o_t = S^T q_t. Key head of value head j is j / (value_heads / key_heads). q, k
// [tokens, key_heads * key_dim] (already normalized and scaled), v [tokens, value_heads *
// value_dim], g, beta [tokens, value_heads].
struct DeltaRuleShape {
  std::int64_t key_heads = 0, value_heads = 0, key_dim = 0, value_dim = 0;
};
Matrix GatedDeltaRule(const Matrix& q, const Matrix& k, const Matrix& v, const Matrix& g,
                      const Matrix& beta, const DeltaRuleShape& shape, DocumentBounds documents);

// Selective state space of Mamba-1, recurrent form: per channel c and state n,
// s <- s exp(a_cn step_c) + step_c b_n x_c; y_c = sum_n s_n c_n + d_c x_c. x, step [tokens,
// channels], a [channels * states], b, c [tokens, states], d [channels].
struct SelectiveScanInput {
  const Matrix& x;
  const Matrix& step;
  std::span<const float> a;
  const Matrix& b;
  const Matrix& c;
  std::span<const float> d;
};
Matrix SelectiveScan(const SelectiveScanInput& input, DocumentBounds documents);

void Silu(std::span<float> x);
void Sigmoid(std::span<float> x);
void Scale(float factor, std::span<float> x);
void MultiplyInto(Matrix& dest, const Matrix& factors);  // elementwise
// dest += source
void AddInto(Matrix& dest, const Matrix& source);
void RoundToBf16(std::span<float> x);
// Fails naming `where` and the token if any value is NaN or infinite.
void RequireFinite(const Matrix& x, const char* where);

double SquaredNorm(std::span<const float> x);  // fp64 accumulation, increasing index
double SquaredDistance(std::span<const float> a, std::span<const float> b);  // likewise
double Dot(std::span<const float> a, std::span<const float> b);              // likewise
// The same bits for every row, many at once.
std::vector<double> SquaredNorms(const RowsView& x);
std::vector<double> SquaredDistances(const RowsView& a, const RowsView& b);

}  // namespace cacheready
