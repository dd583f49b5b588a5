// SPDX-License-Identifier: Apache-2.0
#include "model/short_convolution.h"

#include <vector>

#include "compute/sequence_ops.h"
#include "model/projection.h"

namespace cacheready {
namespace {

class ShortConvolution final : public Mixer {
 public:
  ShortConvolution(const WeightReader& weights, const std::string& module,
                   const ShortConvolutionSpec& spec)
      : spec_(spec) {
    in_ = OpenProjection(weights, module + ".in_proj", {3 * spec.hidden, spec.hidden, spec.bias});
    out_ = OpenProjection(weights, module + ".out_proj", {spec.hidden, spec.hidden, spec.bias});
    kernel_ = weights.Values(module + ".conv.weight", {spec.hidden, 1, spec.width});
    if (spec.bias) kernel_bias_ = weights.Values(module + ".conv.bias", {spec.hidden});
  }

  Matrix Run(const Arithmetic& arithmetic, const Matrix& x,
             DocumentBounds documents) const override {
    LinearInput input(x);
    const Matrix projected = RunProjection(arithmetic, Role::kMixerInput, in_, input);
    Matrix u = CopyColumns(projected, 2 * spec_.hidden, spec_.hidden);
    Gate(arithmetic, CopyColumns(projected, 0, spec_.hidden), u);
    Matrix y = CausalConvolution(u, kernel_, spec_.width, kernel_bias_, documents);
    Round(arithmetic, RoundingPoint::kConvolution, y.values());
    Gate(arithmetic, CopyColumns(projected, spec_.hidden, spec_.hidden), y);
    LinearInput output(y);
    return RunProjection(arithmetic, Role::kMixerOutput, out_, output);
  }

 private:
  static void Gate(const Arithmetic& arithmetic, const Matrix& gate, Matrix& x) {
    const std::span<const float> factors = gate.values();
    const std::span<float> products = x.values();
    for (std::size_t n = 0; n < products.size(); ++n) products[n] *= factors[n];
    Round(arithmetic, RoundingPoint::kGate, products);
  }

  ShortConvolutionSpec spec_;
  Projection in_, out_;
  std::vector<float> kernel_;       // [hidden, width]
  std::vector<float> kernel_bias_;  // [hidden] or empty
};

}  // namespace

std::unique_ptr<Mixer> OpenShortConvolution(const WeightReader& weights, const std::string& module,
                                            const ShortConvolutionSpec& spec) {
  return std::make_unique<ShortConvolution>(weights, module, spec);
}

}  // namespace cacheready
