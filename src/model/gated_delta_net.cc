// SPDX-License-Identifier: Apache-2.0
#include "model/gated_delta_net.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/math.h"
#include "compute/sequence_ops.h"
#include "model/norm.h"

namespace cacheready {
namespace {

constexpr float kL2NormEps = 1e-6f;  // fixed in every implementation, no config key

Matrix Columns(const Matrix& x, std::int64_t begin, std::int64_t count) {
  Matrix part(x.rows(), count);
  for (std::int64_t t = 0; t < x.rows(); ++t) {
    std::copy_n(x.row(t).begin() + begin, count, part.row(t).begin());
  }
  return part;
}

class GatedDeltaNet final : public Mixer {
 public:
  GatedDeltaNet(const WeightReader& weights, const std::string& module,
                const GatedDeltaNetSpec& spec)
      : spec_(spec) {
    qkv_ = weights.Open(module + ".in_proj_qkv", spec.convolved_width(), spec.hidden);
    z_ = weights.Open(module + ".in_proj_z", spec.value_width(), spec.hidden);
    b_ = weights.Open(module + ".in_proj_b", spec.value_heads, spec.hidden);
    a_ = weights.Open(module + ".in_proj_a", spec.value_heads, spec.hidden);
    out_ = weights.Open(module + ".out_proj", spec.hidden, spec.value_width());
    kernel_ = weights.Values(module + ".conv1d.weight",
                             {spec.convolved_width(), 1, spec.convolution_width});
    dt_bias_ = weights.Values(module + ".dt_bias", {spec.value_heads});
    decay_ = weights.Values(module + ".A_log", {spec.value_heads});
    for (float& value : decay_) value = -ExpF(value);
    norm_ = OpenNorm(weights, module + ".norm", spec.value_dim, spec.norm_eps, 0.0f);
  }

  Matrix Run(const Arithmetic& arithmetic, const Matrix& x,
             DocumentBounds documents) const override {
    LinearInput input(x);
    Matrix mixed = Linear(arithmetic, Role::kMixerInput, *qkv_, input);
    mixed = CausalConvolution(mixed, kernel_, spec_.convolution_width, {}, documents);
    // The convolution kernels of the engines apply SiLU before their one rounding.
    Round(arithmetic, RoundingPoint::kConvolutionSum, mixed.values());
    Silu(mixed.values());
    Round(arithmetic, RoundingPoint::kConvolution, mixed.values());

    Matrix q = Columns(mixed, 0, spec_.key_width());
    Matrix k = Columns(mixed, spec_.key_width(), spec_.key_width());
    const Matrix v = Columns(mixed, 2 * spec_.key_width(), spec_.value_width());
    // Normalized and scaled inside the recurrence's kernel, in fp32, except in eager mode.
    L2NormSlices(q, spec_.key_dim, kL2NormEps);
    L2NormSlices(k, spec_.key_dim, kL2NormEps);
    Round(arithmetic, RoundingPoint::kNormalizedKeys, q.values());
    Round(arithmetic, RoundingPoint::kNormalizedKeys, k.values());
    const float scale = 1.0f / std::sqrt(static_cast<float>(spec_.key_dim));
    for (float& value : q.values()) value *= scale;

    Matrix o = GatedDeltaRule(
        q, k, v, LogDecay(arithmetic, input), UpdateStrength(arithmetic, input),
        {spec_.key_heads, spec_.value_heads, spec_.key_dim, spec_.value_dim}, documents);
    Round(arithmetic, RoundingPoint::kRecurrence, o.values());
    GateNorm(arithmetic, Linear(arithmetic, Role::kMixerInput, *z_, input), o);
    return Linear(arithmetic, Role::kMixerOutput, *out_, o);
  }

 private:
  // g = -exp(A_log) softplus(a + dt_bias), [tokens, value_heads]
  Matrix LogDecay(const Arithmetic& arithmetic, LinearInput& x) const {
    Matrix g = Linear(arithmetic, Role::kMixerInput, *a_, x);
    for (std::int64_t t = 0; t < g.rows(); ++t) {
      const auto row = g.row(t);
      for (std::size_t head = 0; head < row.size(); ++head) {
        const float step = row[head] + dt_bias_[head];
        row[head] = decay_[head] * static_cast<float>(Softplus(static_cast<double>(step)));
      }
    }
    return g;
  }

  // beta = sigmoid(b), [tokens, value_heads]
  Matrix UpdateStrength(const Arithmetic& arithmetic, LinearInput& x) const {
    Matrix beta = Linear(arithmetic, Role::kMixerInput, *b_, x);
    for (float& value : beta.values()) value = SigmoidF(value);
    Round(arithmetic, RoundingPoint::kUpdateStrength, beta.values());
    return beta;
  }

  // o <- norm(o) silu(z), rounded once as the fused kernel does.
  void GateNorm(const Arithmetic& arithmetic, Matrix z, Matrix& o) const {
    RmsNormSlices(o, spec_.value_dim, norm_.weight, norm_.eps, norm_.offset);
    Round(arithmetic, RoundingPoint::kUngatedNorm, o.values());
    Silu(z.values());
    const std::span<float> products = o.values();
    const std::span<const float> factors = z.values();
    for (std::size_t n = 0; n < products.size(); ++n) products[n] *= factors[n];
    Round(arithmetic, RoundingPoint::kNorm, products);
  }

  GatedDeltaNetSpec spec_;
  EncodedMatrixPtr qkv_, z_, b_, a_, out_;
  std::vector<float> kernel_;   // [convolved_width, convolution_width]
  std::vector<float> dt_bias_;  // [value_heads]
  std::vector<float> decay_;    // -exp(A_log), [value_heads]
  Norm norm_;
};

}  // namespace

GatedDeltaNetSpec ReadGatedDeltaNetSpec(const ConfigReader& config, std::int64_t hidden,
                                        double norm_eps) {
  const GatedDeltaNetSpec spec{.hidden = hidden,
                               .key_heads = config.Size("linear_num_key_heads"),
                               .value_heads = config.Size("linear_num_value_heads"),
                               .key_dim = config.Size("linear_key_head_dim"),
                               .value_dim = config.Size("linear_value_head_dim"),
                               .convolution_width = config.Size("linear_conv_kernel_dim"),
                               .norm_eps = norm_eps};
  if (spec.value_heads % spec.key_heads != 0) {
    Fail("{}: linear_num_value_heads {} is no multiple of linear_num_key_heads {}", config.what(),
         spec.value_heads, spec.key_heads);
  }
  return spec;
}

std::unique_ptr<Mixer> OpenGatedDeltaNet(const WeightReader& weights, const std::string& module,
                                         const GatedDeltaNetSpec& spec) {
  return std::make_unique<GatedDeltaNet>(weights, module, spec);
}

}  // namespace cacheready
