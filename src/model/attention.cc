// SPDX-License-Identifier: Apache-2.0
#include "model/attention.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/math.h"
#include "formats/encoded_matrix.h"

namespace cacheready {
namespace {

// Columns of a projection [tokens, heads * 2 * head_dim] taken apart: the first or the second
// half of every head.
Matrix HalfOfHeads(const Matrix& x, std::int64_t head_dim, bool second) {
  Matrix half(x.rows(), x.cols() / 2);
  for (std::int64_t t = 0; t < x.rows(); ++t) {
    const auto source = x.row(t);
    const auto target = half.row(t);
    for (std::int64_t c = 0; c < half.cols(); c += head_dim) {
      std::copy_n(source.begin() + 2 * c + (second ? head_dim : 0), head_dim, target.begin() + c);
    }
  }
  return half;
}

class Attention final : public Mixer {
 public:
  Attention(const WeightReader& weights, const std::string& module, const AttentionSpec& spec)
      : spec_(spec) {
    const std::int64_t q_width = spec.heads * spec.head_dim;
    const std::int64_t kv_width = spec.kv_heads * spec.head_dim;
    q_ = weights.Open(module + ".q_proj", spec.output_gate ? 2 * q_width : q_width, spec.hidden);
    k_ = weights.Open(module + ".k_proj", kv_width, spec.hidden);
    v_ = weights.Open(module + ".v_proj", kv_width, spec.hidden);
    o_ = weights.Open(module + ".o_proj", spec.hidden, q_width);
    if (spec.head_norms) {
      q_norm_ =
          OpenNorm(weights, module + ".q_norm", spec.head_dim, spec.norm_eps, spec.norm_offset);
      k_norm_ =
          OpenNorm(weights, module + ".k_norm", spec.head_dim, spec.norm_eps, spec.norm_offset);
    }
  }

  Matrix Run(const Arithmetic& arithmetic, const Matrix& x,
             DocumentBounds documents) const override {
    LinearInput input(x);
    Matrix q = Linear(arithmetic, Role::kMixerInput, *q_, input);
    Matrix gate;
    if (spec_.output_gate) {
      gate = HalfOfHeads(q, spec_.head_dim, true);
      q = HalfOfHeads(q, spec_.head_dim, false);
    }
    Matrix k = Linear(arithmetic, Role::kMixerInput, *k_, input);
    const Matrix v = Linear(arithmetic, Role::kMixerInput, *v_, input);
    if (q_norm_) RunNormSlices(arithmetic, *q_norm_, q);
    if (k_norm_) RunNormSlices(arithmetic, *k_norm_, k);
    RunRotary(arithmetic, spec_.rotary, documents, q);
    RunRotary(arithmetic, spec_.rotary, documents, k);

    const AttentionOptions options{
        .heads = spec_.heads,
        .kv_heads = spec_.kv_heads,
        .head_dim = spec_.head_dim,
        .value_dim = spec_.head_dim,
        .scale = 1.0f / std::sqrt(static_cast<float>(spec_.head_dim)),
        .round_probabilities_bf16 =
            arithmetic.profile->at(RoundingPoint::kAttentionProbabilities) == Rounding::kBf16};
    Matrix heads = CausalAttention(q, k, v, options, documents);
    Round(arithmetic, RoundingPoint::kAttentionOutput, heads.values());
    if (spec_.output_gate) MultiplySigmoid(arithmetic, gate, heads);
    return Linear(arithmetic, Role::kMixerOutput, *o_, heads);
  }

 private:
  static void MultiplySigmoid(const Arithmetic& arithmetic, Matrix& gate, Matrix& heads) {
    const std::span<float> factors = gate.values();
    const std::span<float> products = heads.values();
    for (float& factor : factors) factor = SigmoidF(factor);
    Round(arithmetic, RoundingPoint::kGate, factors);
    for (std::size_t n = 0; n < products.size(); ++n) products[n] *= factors[n];
    Round(arithmetic, RoundingPoint::kGate, products);
  }

  AttentionSpec spec_;
  EncodedMatrixPtr q_, k_, v_, o_;
  std::optional<Norm> q_norm_, k_norm_;
};

}  // namespace

std::int64_t ReadKvHeads(const ConfigReader& config, std::int64_t heads) {
  const std::int64_t kv_heads = config.Size("num_key_value_heads", heads);
  if (heads % kv_heads != 0) {
    Fail("{}: num_attention_heads {} is no multiple of num_key_value_heads {}", config.what(),
         heads, kv_heads);
  }
  return kv_heads;
}

std::unique_ptr<Mixer> OpenAttention(const WeightReader& weights, const std::string& module,
                                     const AttentionSpec& spec) {
  return std::make_unique<Attention>(weights, module, spec);
}

}  // namespace cacheready
