// The one place where a profile decides how a matrix product is computed.
// SPDX-License-Identifier: Apache-2.0
#include "arithmetic/profile.h"
#include "base/error.h"

namespace cacheready {
namespace {

RoundingPoint PointOf(Role role) {
  switch (role) {
    case Role::kRouter:
      return RoundingPoint::kRouterLogits;
    case Role::kHead:
      return RoundingPoint::kLogits;
    default:
      return RoundingPoint::kLinear;
  }
}

bool IsRouter(Role role) { return role == Role::kRouter || role == Role::kFp32Router; }

bool UsesQuantizedActivations(const Arithmetic& arithmetic, Role role,
                              const EncodedMatrix& weight) {
  return arithmetic.profile->quantize_activations_e4m3 && !IsRouter(role) &&
         weight.format() == "fp8-block";
}

// Roles whose products a bf16 class computes. A router decides by small differences of logits; a
// gate is one output, a head is not repeated in every layer.
bool UsesClass(Role role) {
  switch (role) {
    case Role::kMixerInput:
    case Role::kMixerOutput:
    case Role::kExpert:
    case Role::kSharedExpert:
    case Role::kDenseFfn:
      return true;
    case Role::kRouter:
    case Role::kFp32Router:
    case Role::kGate:
    case Role::kHead:
      return false;
  }
  CR_CHECK(false, "role {}", static_cast<int>(role));
}

Matrix MultiplyInBf16(const Arithmetic& arithmetic, Role role, const EncodedMatrix& weight,
                      LinearInput& x) {
  const Bf16Numerics numerics =
      arithmetic.numerics == Numerics::kBf16Amx ? Bf16Numerics::kAmx : Bf16Numerics::kAvx512;
  if (UsesQuantizedActivations(arithmetic, role, weight)) {
    return MatMulBf16(weight, x.quantized_bf16(weight.block_shape().cols), numerics,
                      {.dither_seed = arithmetic.dither_seed});
  }
  const WeightReading reading = arithmetic.profile->reading;
  return MatMulBf16(weight, x.bf16(Bf16BlockColumns(weight, reading)), numerics,
                    {.reading = reading, .dither_seed = arithmetic.dither_seed});
}

Matrix Multiply(const Arithmetic& arithmetic, Role role, const EncodedMatrix& weight,
                LinearInput& x) {
  if (arithmetic.numerics != Numerics::kFp32Chain && UsesClass(role)) {
    return MultiplyInBf16(arithmetic, role, weight, x);
  }
  if (UsesQuantizedActivations(arithmetic, role, weight)) {
    return MatMulScaled(weight, x.packed_quantized(weight.block_shape().cols),
                        arithmetic.dither_seed);
  }
  MatMulOptions options{.reading = arithmetic.profile->reading,
                        .dither_seed = arithmetic.dither_seed};
  // Router rows are what a plan writes: they are exact, whatever is asked of the other weights.
  if (IsRouter(role)) options.dither_seed.reset();
  if (role == Role::kFp32Router) options.reading = WeightReading::kStored;
  return MatMul(weight, x.packed(), options);
}

}  // namespace

const PackedTokens& LinearInput::packed() {
  if (!packed_) packed_.emplace(x_);
  return *packed_;
}

const PackedQuantizedTokens& LinearInput::packed_quantized(std::int64_t group) {
  if (!packed_quantized_ || packed_quantized_->group != group) {
    packed_quantized_.emplace(QuantizeTokensE4m3(x_, group));
  }
  return *packed_quantized_;
}

const Bf16Tokens& LinearInput::bf16(std::int64_t block) {
  if (!bf16_ || bf16_block_ != block) bf16_.emplace(x_, block);
  bf16_block_ = block;
  return *bf16_;
}

const Bf16Tokens& LinearInput::quantized_bf16(std::int64_t group) {
  if (!quantized_bf16_ || quantized_bf16_group_ != group) {
    quantized_bf16_.emplace(QuantizeTokensE4m3(x_, group));
  }
  quantized_bf16_group_ = group;
  return *quantized_bf16_;
}

Matrix Linear(const Arithmetic& arithmetic, Role role, const EncodedMatrix& weight, const Matrix& x,
              std::span<const float> bias) {
  LinearInput input(x);
  return Linear(arithmetic, role, weight, input, bias);
}

Matrix Linear(const Arithmetic& arithmetic, Role role, const EncodedMatrix& weight, LinearInput& x,
              std::span<const float> bias) {
  CR_CHECK(arithmetic.profile != nullptr, "arithmetic without a profile");
  Matrix y = Multiply(arithmetic, role, weight, x);
  if (!bias.empty()) {
    CR_CHECK(static_cast<std::int64_t>(bias.size()) == y.cols(), "{} biases for {} outputs",
             bias.size(), y.cols());
    for (std::int64_t t = 0; t < y.rows(); ++t) {
      const std::span<float> row = y.row(t);
      for (std::size_t i = 0; i < row.size(); ++i) row[i] += bias[i];
    }
  }
  if (role != Role::kFp32Router) Round(arithmetic, PointOf(role), y.values());
  return y;
}

}  // namespace cacheready
