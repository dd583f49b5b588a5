// SPDX-License-Identifier: Apache-2.0
#include "model/selective_state_space.h"

#include <vector>

#include "base/math.h"
#include "compute/sequence_ops.h"
#include "model/norm.h"
#include "model/projection.h"

namespace cacheready {
namespace {

class SelectiveStateSpace final : public Mixer {
 public:
  SelectiveStateSpace(const WeightReader& weights, const std::string& module,
                      const SelectiveStateSpaceSpec& spec)
      : spec_(spec) {
    const auto open = [&](const std::string& name, const ProjectionShape& shape) {
      return OpenProjection(weights, module + "." + name, shape);
    };
    const auto open_norm = [&](const std::string& name, std::int64_t width) {
      return OpenNorm(weights, module + "." + name, width, spec.norm_eps, 0.0f);
    };
    in_ = open("in_proj", {2 * spec.channels, spec.hidden, spec.projection_bias});
    parameters_ = open("x_proj", {spec.step_rank + 2 * spec.states, spec.channels});
    step_ = open("dt_proj", {spec.channels, spec.step_rank, true});
    out_ = open("out_proj", {spec.hidden, spec.channels, spec.projection_bias});
    step_norm_ = open_norm("dt_layernorm", spec.step_rank);
    b_norm_ = open_norm("b_layernorm", spec.states);
    c_norm_ = open_norm("c_layernorm", spec.states);
    kernel_ = weights.Values(module + ".conv1d.weight", {spec.channels, 1, spec.convolution_width});
    if (spec.convolution_bias) {
      kernel_bias_ = weights.Values(module + ".conv1d.bias", {spec.channels});
    }
    a_ = weights.Values(module + ".A_log", {spec.channels, spec.states});
    for (float& value : a_) value = -ExpF(value);
    d_ = weights.Values(module + ".D", {spec.channels});
  }

  Matrix Run(const Arithmetic& arithmetic, const Matrix& x,
             DocumentBounds documents) const override {
    LinearInput input(x);
    const Matrix projected = RunProjection(arithmetic, Role::kMixerInput, in_, input);
    Matrix u = CausalConvolution(CopyColumns(projected, 0, spec_.channels), kernel_,
                                 spec_.convolution_width, kernel_bias_, documents);
    Silu(u.values());
    Round(arithmetic, RoundingPoint::kConvolution, u.values());

    LinearInput convolved(u);
    const Matrix parameters = RunProjection(arithmetic, Role::kMixerInput, parameters_, convolved);
    const auto normed = [&](std::int64_t begin, std::int64_t count, const Norm& norm) {
      return RunNorm(arithmetic, norm, CopyColumns(parameters, begin, count));
    };
    const Matrix step = Steps(arithmetic, normed(0, spec_.step_rank, step_norm_));
    const Matrix b = normed(spec_.step_rank, spec_.states, b_norm_);
    const Matrix c = normed(spec_.step_rank + spec_.states, spec_.states, c_norm_);

    Matrix y = SelectiveScan({u, step, a_, b, c, d_}, documents);
    // Gated inside the scan's kernel: rounded once.
    Matrix gate = CopyColumns(projected, spec_.channels, spec_.channels);
    Silu(gate.values());
    for (std::size_t n = 0; n < y.values().size(); ++n) y.values()[n] *= gate.values()[n];
    Round(arithmetic, RoundingPoint::kRecurrence, y.values());
    LinearInput output(y);
    return RunProjection(arithmetic, Role::kMixerOutput, out_, output);
  }

 private:
  // softplus(dt_proj(step) + bias), [tokens, channels]; the bias is added in fp32, after the
  // rounding of the product.
  Matrix Steps(const Arithmetic& arithmetic, const Matrix& low_rank) const {
    Matrix steps = Linear(arithmetic, Role::kMixerInput, *step_.weight, low_rank);
    for (std::int64_t t = 0; t < steps.rows(); ++t) {
      const auto row = steps.row(t);
      for (std::size_t channel = 0; channel < row.size(); ++channel) {
        const float step = row[channel] + step_.bias[channel];
        row[channel] = static_cast<float>(Softplus(static_cast<double>(step)));
      }
    }
    return steps;
  }

  SelectiveStateSpaceSpec spec_;
  Projection in_, parameters_, step_, out_;
  Norm step_norm_, b_norm_, c_norm_;
  std::vector<float> kernel_;       // [channels, convolution_width]
  std::vector<float> kernel_bias_;  // [channels] or empty
  std::vector<float> a_;            // -exp(A_log), [channels, states]
  std::vector<float> d_;            // [channels]
};

}  // namespace

SelectiveStateSpaceSpec ReadSelectiveStateSpace(const ConfigReader& config, std::int64_t hidden,
                                                double norm_eps) {
  SelectiveStateSpaceSpec spec{.hidden = hidden,
                               .channels = config.Size("mamba_expand", 2) * hidden,
                               .states = config.Size("mamba_d_state", 16),
                               .convolution_width = config.Size("mamba_d_conv", 4),
                               .convolution_bias = config.Flag("mamba_conv_bias", true),
                               .projection_bias = config.Flag("mamba_proj_bias", false),
                               .norm_eps = norm_eps};
  spec.step_rank = config.IsText("mamba_dt_rank", "auto")
                       ? (hidden + 15) / 16
                       : config.Size("mamba_dt_rank", (hidden + 15) / 16);
  return spec;
}

std::unique_ptr<Mixer> OpenSelectiveStateSpace(const WeightReader& weights,
                                               const std::string& module,
                                               const SelectiveStateSpaceSpec& spec) {
  return std::make_unique<SelectiveStateSpace>(weights, module, spec);
}

}  // namespace cacheready
