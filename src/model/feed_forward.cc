// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>

#include "base/error.h"
#include "base/math.h"
#include "model/model.h"

namespace cacheready {
namespace {

constexpr float kClampLimit = 7.0f;
constexpr float kClampSlope = 1.702f;

std::atomic<std::uint64_t> flops = 0;

void Swiglu(const Arithmetic& arithmetic, const Matrix& up, Matrix& inner) {
  Silu(inner.values());
  Round(arithmetic, RoundingPoint::kSilu, inner.values());
  MultiplyInto(inner, up);
}

// One kernel in the engines: nothing is rounded in between.
void ClampedSwiglu(std::span<const float> up, std::span<float> inner) {
  for (std::size_t n = 0; n < inner.size(); ++n) {
    const float g = std::min(inner[n], kClampLimit);
    const float u = std::clamp(up[n], -kClampLimit, kClampLimit);
    inner[n] = g * SigmoidF(kClampSlope * g) * (u + 1.0f);
  }
}

}  // namespace

std::uint64_t FeedForwardFlops() { return flops.load(); }

Matrix RunFeedForward(const Arithmetic& arithmetic, Role role, const FeedForward& ffn,
                      const RowsView& x) {
  flops += static_cast<std::uint64_t>(std::int64_t{2} * 3 * x.rows() * ffn.gate->rows() *
                                      ffn.gate->cols());
  LinearInput input(x);
  Matrix inner = Linear(arithmetic, role, *ffn.gate, input, ffn.gate_bias);
  const Matrix up = Linear(arithmetic, role, *ffn.up, input, ffn.up_bias);
  switch (ffn.activation) {
    case Activation::kSwiglu:
      Swiglu(arithmetic, up, inner);
      break;
    case Activation::kClampedSwiglu:
      ClampedSwiglu(up.values(), inner.values());
      break;
  }
  Round(arithmetic, RoundingPoint::kSiluUp, inner.values());
  return Linear(arithmetic, role, *ffn.down, inner, ffn.down_bias);
}

}  // namespace cacheready
