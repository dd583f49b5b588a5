// Elementary functions whose bits do not depend on the machine: libm picks variants at run time,
// these do not. Built from IEEE +,-,*,/ and sqrt in double only; relative error below 1e-13, so a
// result rounded to float is correctly rounded except within ~1e-6 ulp of a tie.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>

namespace cacheready {

// +inf above 709.79, 0 below -745.2, NaN for NaN. Inline and without branches: it sits in the
// innermost loops of softmax and silu, where the compiler may turn it into vector code with the
// same bits.
inline double Exp(double x) {
  x = x > 710.0 ? 710.0 : x;  // comparisons with NaN are false, so NaN goes through
  x = x < -746.0 ? -746.0 : x;
  // Adding 1.5 * 2^52 rounds to an integer k, left in the low bits of the sum.
  constexpr double kShift = 0x1.8p52;
  const double shifted = x * 0x1.71547652b82fep+0 + kShift;
  const std::uint64_t k = std::bit_cast<std::uint64_t>(shifted) - 0x4338000000000000u;
  const double whole = shifted - kShift;
  // ln 2 in two parts; the high one has 32 bits, so its product with k is exact.
  const double r = (x - whole * 0x1.62e42feep-1) - whole * 0x1.a39ef35793c76p-33;
  // Taylor to degree 13: the next term is below 5e-18 for |r| <= ln(2)/2.
  double p = 1.0 / 6227020800.0;
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = 1.0 + (r + r * r * p);
  // 2^k in two factors, since k reaches 1024 and -1076.
  const std::uint64_t half = static_cast<std::uint64_t>(static_cast<std::int64_t>(k) >> 1);
  const double low = std::bit_cast<double>((half + 1023u) << 52);
  const double high = std::bit_cast<double>((k - half + 1023u) << 52);
  return p * low * high;
}
double Expm1(double x);
double Log(double x);    // Requires x > 0 (Log(0) = -inf, negative = NaN)
double Log1p(double x);  // Requires x > -1
double Sin(double x);    // |x| <= 1e6 keeps the stated error
double Cos(double x);
double Pow(double x, double y);  // exp(y log x), Requires x > 0; error as stated if |y log x| < 200
// 1/(1+exp(-x)) without overflow
inline double Sigmoid(double x) {
  const double e = Exp(x < 0 ? x : -x);
  return (x < 0 ? e : 1.0) / (1.0 + e);
}
double Softplus(double x);  // log(1+exp(x)); x above 20, as torch does
double Tanh(double x);
double NormalCdf(double x);  // Phi(x), absolute error < 1e-12

// The same rounded once to float; what the forward pass uses.
inline float ExpF(float x) { return static_cast<float>(Exp(static_cast<double>(x))); }
inline float SigmoidF(float x) { return static_cast<float>(Sigmoid(static_cast<double>(x))); }

}  // namespace cacheready
