// SPDX-License-Identifier: Apache-2.0
#include "model/gated_delta_net.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/math.h"
#include "compute/sequence_ops.h"
#include "model/norm.h"

namespace cacheready {
namespace {

constexpr float kL2NormEps = 1e-6f;  // fixed in every implementation, no config key

// The projected inputs of one call, head by head.
struct Projected {
  Matrix qkv;  // [tokens, convolved_width]
  Matrix z;    // [tokens, value_width]
  Matrix b;    // [tokens, value_heads]
  Matrix a;
};

class InputProjections {
 public:
  virtual ~InputProjections() = default;
  virtual Projected Run(const Arithmetic& arithmetic, LinearInput& x) const = 0;
};

class SeparateProjections final : public InputProjections {
 public:
  SeparateProjections(const WeightReader& weights, const std::string& module,
                      const GatedDeltaNetSpec& spec)
      : qkv_(weights.Open(module + ".in_proj_qkv", spec.convolved_width(), spec.hidden)),
        z_(weights.Open(module + ".in_proj_z", spec.value_width(), spec.hidden)),
        b_(weights.Open(module + ".in_proj_b", spec.value_heads, spec.hidden)),
        a_(weights.Open(module + ".in_proj_a", spec.value_heads, spec.hidden)) {}

  Projected Run(const Arithmetic& arithmetic, LinearInput& x) const override {
    const auto project = [&](const EncodedMatrix& weight) {
      return Linear(arithmetic, Role::kMixerInput, weight, x);
    };
    return {project(*qkv_), project(*z_), project(*b_), project(*a_)};
  }

 private:
  EncodedMatrixPtr qkv_, z_, b_, a_;
};

class ProjectionsByKeyHead final : public InputProjections {
 public:
  ProjectionsByKeyHead(const WeightReader& weights, const std::string& module,
                       const GatedDeltaNetSpec& spec)
      : spec_(spec),
        qkvz_(weights.Open(module + ".in_proj_qkvz", spec.convolved_width() + spec.value_width(),
                           spec.hidden)),
        ba_(weights.Open(module + ".in_proj_ba", 2 * spec.value_heads, spec.hidden)) {}

  Projected Run(const Arithmetic& arithmetic, LinearInput& x) const override {
    const Matrix qkvz = Linear(arithmetic, Role::kMixerInput, *qkvz_, x);
    const Matrix ba = Linear(arithmetic, Role::kMixerInput, *ba_, x);
    const std::int64_t heads = spec_.heads_per_key(), width = heads * spec_.value_dim;
    Projected projected{
        Matrix(qkvz.rows(), spec_.convolved_width()), Matrix(qkvz.rows(), spec_.value_width()),
        Matrix(qkvz.rows(), spec_.value_heads), Matrix(qkvz.rows(), spec_.value_heads)};
    for (std::int64_t t = 0; t < qkvz.rows(); ++t) {
      auto from = qkvz.row(t).begin();
      const auto take = [&from](std::int64_t count, Matrix& to, std::int64_t row,
                                std::int64_t column) {
        std::copy_n(from, count, to.row(row).begin() + column);
        from += count;
      };
      for (std::int64_t key = 0; key < spec_.key_heads; ++key) {
        take(spec_.key_dim, projected.qkv, t, key * spec_.key_dim);
        take(spec_.key_dim, projected.qkv, t, spec_.key_width() + key * spec_.key_dim);
        take(width, projected.qkv, t, 2 * spec_.key_width() + key * width);
        take(width, projected.z, t, key * width);
      }
      from = ba.row(t).begin();
      for (std::int64_t key = 0; key < spec_.key_heads; ++key) {
        take(heads, projected.b, t, key * heads);
        take(heads, projected.a, t, key * heads);
      }
    }
    return projected;
  }

 private:
  GatedDeltaNetSpec spec_;
  EncodedMatrixPtr qkvz_, ba_;
};

std::unique_ptr<InputProjections> OpenInputs(const WeightReader& weights, const std::string& module,
                                             const GatedDeltaNetSpec& spec) {
  if (spec.rows_by_key_head) return std::make_unique<ProjectionsByKeyHead>(weights, module, spec);
  return std::make_unique<SeparateProjections>(weights, module, spec);
}

class GatedDeltaNet final : public Mixer {
 public:
  GatedDeltaNet(const WeightReader& weights, const std::string& module,
                const GatedDeltaNetSpec& spec)
      : spec_(spec), inputs_(OpenInputs(weights, module, spec)) {
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
    Projected projected = inputs_->Run(arithmetic, input);
    Matrix mixed =
        CausalConvolution(projected.qkv, kernel_, spec_.convolution_width, {}, documents);
    // The convolution kernels of the engines apply SiLU before their one rounding.
    Round(arithmetic, RoundingPoint::kConvolutionSum, mixed.values());
    Silu(mixed.values());
    Round(arithmetic, RoundingPoint::kConvolution, mixed.values());

    Matrix q = CopyColumns(mixed, 0, spec_.key_width());
    Matrix k = CopyColumns(mixed, spec_.key_width(), spec_.key_width());
    const Matrix v = CopyColumns(mixed, 2 * spec_.key_width(), spec_.value_width());
    // Normalized and scaled inside the recurrence's kernel, in fp32, except in eager mode.
    L2NormSlices(q, spec_.key_dim, kL2NormEps);
    L2NormSlices(k, spec_.key_dim, kL2NormEps);
    Round(arithmetic, RoundingPoint::kNormalizedKeys, q.values());
    Round(arithmetic, RoundingPoint::kNormalizedKeys, k.values());
    const float scale = 1.0f / std::sqrt(static_cast<float>(spec_.key_dim));
    Scale(scale, q.values());

    Matrix o = GatedDeltaRule(q, k, v, LogDecay(std::move(projected.a)),
                              UpdateStrength(arithmetic, std::move(projected.b)),
                              {spec_.key_heads, spec_.value_heads, spec_.key_dim, spec_.value_dim},
                              documents);
    Round(arithmetic, RoundingPoint::kRecurrence, o.values());
    GateNorm(arithmetic, std::move(projected.z), o);
    return Linear(arithmetic, Role::kMixerOutput, *out_, o);
  }

 private:
  // g = -exp(A_log) softplus(a + dt_bias), [tokens, value_heads]
  Matrix LogDecay(Matrix g) const {
    ForEachRow(g, [&](std::int64_t t) {
      const auto row = g.row(t);
      for (std::size_t head = 0; head < row.size(); ++head) {
        const float step = row[head] + dt_bias_[head];
        row[head] = decay_[head] * static_cast<float>(Softplus(static_cast<double>(step)));
      }
    });
    return g;
  }

  // beta = sigmoid(b), [tokens, value_heads]
  static Matrix UpdateStrength(const Arithmetic& arithmetic, Matrix beta) {
    Sigmoid(beta.values());
    Round(arithmetic, RoundingPoint::kUpdateStrength, beta.values());
    return beta;
  }

  // o <- norm(o) silu(z), rounded once as the fused kernel does.
  void GateNorm(const Arithmetic& arithmetic, Matrix z, Matrix& o) const {
    RmsNormSlices(o, spec_.value_dim, norm_.weight, norm_.eps, norm_.offset);
    Round(arithmetic, RoundingPoint::kUngatedNorm, o.values());
    Silu(z.values());
    MultiplyInto(o, z);
    Round(arithmetic, RoundingPoint::kNorm, o.values());
  }

  GatedDeltaNetSpec spec_;
  std::unique_ptr<InputProjections> inputs_;
  EncodedMatrixPtr out_;
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
