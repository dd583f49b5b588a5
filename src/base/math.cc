// SPDX-License-Identifier: Apache-2.0
#include "base/math.h"

#include <cmath>
#include <limits>

namespace cacheready {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double Absolute(double x) { return x < 0 ? -x : x; }

// x = quadrant * pi/2 + high + low with |high| <= pi/4. The parts of pi/2 have 33 bits each, so
// their products with the quadrant are exact up to |x| of a million.
struct ReducedAngle {
  double high;
  double low;
  unsigned quadrant;  // modulo 4
};

ReducedAngle ReduceAngle(double x) {
  constexpr double kShift = 0x1.8p52;
  const double shifted = x * 6.36619772367581382433e-01 + kShift;
  const double n = shifted - kShift;
  const double first = x - n * 1.57079632673412561417e+00;
  const double second = n * 6.07710050630396597660e-11;
  const double difference = first - second;
  const double rest = n * 2.02226624879595063154e-21 - ((first - difference) - second);
  ReducedAngle angle{};
  angle.high = difference - rest;
  angle.low = (difference - angle.high) - rest;
  angle.quadrant = static_cast<unsigned>(std::bit_cast<std::uint64_t>(shifted) & 3u);
  return angle;
}

// Minimax polynomials on [-pi/4, pi/4] (the coefficients of Sun's fdlibm).
double SinKernel(double x, double tail) {
  const double z = x * x;
  const double v = z * x;
  const double r = 8.33333333332248946124e-03 +
                   z * (-1.98412698298579493134e-04 +
                        z * (2.75573137070700676789e-06 +
                             z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)));
  return x - ((z * (0.5 * tail - v * r) - tail) - v * -1.66666666666666324348e-01);
}

double CosKernel(double x, double tail) {
  const double z = x * x;
  const double r =
      z * (4.16666666666666019037e-02 +
           z * (-1.38888888888741095749e-03 +
                z * (2.48015872894767294178e-05 +
                     z * (-2.75573143513906633035e-07 +
                          z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11)))));
  const double half = 0.5 * z;
  const double w = 1.0 - half;
  return w + (((1.0 - w) - half) + (z * r - x * tail));
}

}  // namespace

double Expm1(double x) {
  if (!(Absolute(x) < 0.35)) return Exp(x) - 1.0;
  double p = 1.0;  // Taylor by Horner: x/1 (1 + x/2 (1 + x/3 (...)))
  for (int n = 15; n >= 2; --n) p = 1.0 + p * (x / n);
  return x * p;
}

double Log(double x) {
  if (!(x > 0)) return x == 0 ? -kInfinity : kNaN;
  if (x == kInfinity) return x;
  double exponent = 0;
  if (x < std::numeric_limits<double>::min()) {
    x *= 0x1p54;
    exponent = -54;
  }
  // x = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)).
  std::uint64_t bits = std::bit_cast<std::uint64_t>(x);
  bits += 0x3FF0000000000000u - 0x3FE6A09E667F3BCDu;
  exponent += static_cast<double>(static_cast<int>(bits >> 52) - 1023);
  const double m = std::bit_cast<double>((bits & 0x000FFFFFFFFFFFFFu) + 0x3FE6A09E667F3BCDu);
  const double f = m - 1.0;
  // log(1+f) = 2 atanh(s), s = f/(2+f); minimax polynomial of fdlibm.
  const double s = f / (2.0 + f);
  const double z = s * s;
  const double w = z * z;
  const double even = w * (3.999999999940941908e-01 +
                           w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
  const double odd = z * (6.666666666666735130e-01 +
                          w * (2.857142874366239149e-01 +
                               w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
  const double half = 0.5 * f * f;
  const double tail = s * (half + (even + odd));
  constexpr double kLn2High = 6.93147180369123816490e-01;
  constexpr double kLn2Low = 1.90821492927058770002e-10;
  return exponent * kLn2High - ((half - (tail + exponent * kLn2Low)) - f);
}

double Log1p(double x) {
  const double u = 1.0 + x;
  if (u == 1.0) return x;
  if (!(u > 0) || u == kInfinity) return Log(u);
  // The rounding error of 1 + x cancels in the quotient (Kahan).
  return Log(u) * (x / (u - 1.0));
}

double Sin(double x) {
  const ReducedAngle a = ReduceAngle(x);
  const double value = (a.quadrant & 1u) != 0 ? CosKernel(a.high, a.low) : SinKernel(a.high, a.low);
  return (a.quadrant & 2u) != 0 ? -value : value;
}

double Cos(double x) {
  const ReducedAngle a = ReduceAngle(x);
  const double value = (a.quadrant & 1u) != 0 ? SinKernel(a.high, a.low) : CosKernel(a.high, a.low);
  return ((a.quadrant + 1u) & 2u) != 0 ? -value : value;
}

double Pow(double x, double y) { return Exp(y * Log(x)); }

double Softplus(double x) { return x > 20.0 ? x : Log1p(Exp(x)); }

double Tanh(double x) {
  const double magnitude = Absolute(x);
  if (magnitude > 22.0) return x < 0 ? -1.0 : 1.0;  // 1 - 2e-19 rounds to 1
  const double e = Expm1(2.0 * magnitude);
  const double value = e / (e + 2.0);
  return x < 0 ? -value : value;
}

double NormalCdf(double x) {
  if (x > 8.5) return 1.0;
  if (x < -8.5) return 0.0;
  if (x != x) return x;
  // Marsaglia's series: Phi(x) = 1/2 + phi(x) (x + x^3/3 + x^5/(3*5) + ...), terms of one sign.
  double sum = x;
  double previous = 0;
  double term = x;
  for (double odd = 3; sum != previous; odd += 2) {
    previous = sum;
    term *= x * x / odd;
    sum += term;
  }
  const double value = 0.5 + sum * 0.39894228040143267794 * Exp(-0.5 * x * x);
  return value < 0 ? 0.0 : (value > 1 ? 1.0 : value);
}

}  // namespace cacheready
