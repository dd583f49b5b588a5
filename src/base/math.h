// Elementary functions whose bits do not depend on the machine: libm picks variants at run time,
// these do not. Built from IEEE +,-,*,/ and sqrt in double only; relative error below 1e-13, so a
// result rounded to float is correctly rounded except within ~1e-6 ulp of a tie.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace cacheready {

double Exp(double x);  // +inf above 709.78, 0 below -745
double Expm1(double x);
double Log(double x);    // Requires x > 0 (Log(0) = -inf, negative = NaN)
double Log1p(double x);  // Requires x > -1
double Sin(double x);    // |x| <= 1e6 keeps the stated error
double Cos(double x);
double Pow(double x, double y);  // exp(y log x), Requires x > 0
double Sigmoid(double x);        // 1/(1+exp(-x)) without overflow
double Softplus(double x);       // log(1+exp(x)); x above 20, as torch does
double Tanh(double x);
double NormalCdf(double x);  // Phi(x), absolute error < 1e-12

// The same rounded once to float; what the forward pass uses.
inline float ExpF(float x) { return static_cast<float>(Exp(static_cast<double>(x))); }
inline float SigmoidF(float x) { return static_cast<float>(Sigmoid(static_cast<double>(x))); }

}  // namespace cacheready
