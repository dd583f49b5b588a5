// The inner loops, one table per instruction set, chosen at run time by CPUID. Equal bits on all of
// them: every output is ONE chain of fused multiply-adds in increasing k, whatever the vector
// width, the batch, or the threads. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "compute/kernel_functions.h"

namespace cacheready {

struct Kernels {
  std::string_view name;  // "portable", "avx2", "avx512", "avx512bf16", "amx"
  // out[r * out_stride + t] = chain over c of w[r * w_stride + c] * xt[c * xt_stride + t], starting
  // from out (accumulate) or 0, for r < rows, t < tokens (a multiple of kTokenPad). With scales:
  // out = fma(chain from 0, row_scale[r] * token_scale[t], out).
  void (*multiply_panel)(const PanelProduct& product);
  // to[c * to_stride + r] = from[r][c] for r < rows, c < cols: words of 32 bits, whatever they mean
  void (*transpose)(const void* const* from, std::int64_t rows, std::int64_t cols, void* to,
                    std::int64_t to_stride);
  // sum[i] = fma(a[i], b[i], sum[i])
  void (*multiply_add)(const float* a, const float* b, std::int64_t count, float* sum);
  // x[i] = e^x[i], computed in double (relative error below 1e-14) and rounded once.
  void (*exponentials)(std::int64_t count, float* x);
  // x[i] = x[i] * sigmoid(x[i]), the sigmoid computed in double and rounded once.
  void (*silu)(std::int64_t count, float* x);
  // S <- S decay; d = beta (v - S^T k); S <- S + k d^T; out = S^T q: chains over the key dimension.
  void (*delta_step)(const DeltaStep& step);
  // x[i] = x[i] rounded to bf16
  void (*round_bf16)(std::int64_t count, float* x);
  // Returns the scale, the largest |x[i]| over 448 (1e-10 at least is taken for it); codes[i] =
  // x[i] over it, rounded to E4M3.
  float (*quantize_e4m3)(const float* x, std::int64_t count, float* codes);
  // to[i] = the bits of from[i] rounded to bf16
  void (*narrow_bf16)(const float* from, std::int64_t count, std::uint16_t* to);
  // Two bf16 products, each what an instruction computes, and emulated to the bit where there is
  // none. Both treat subnormal operands and results as zeros of their sign. Without scales there is
  // one block, and out = its sum; with scales, block by block, out = fma(sum of the block, row
  // scale * token scale, out).
  // TDPBF16PS, a step of 32 columns: a chain of fused multiply-adds over its even columns and one
  // over its odd columns, both from 0; their sum is added to the step before's.
  void (*multiply_bf16_amx)(const Bf16Product& product);
  // VDPBF16PS, a pair of columns: one chain, the odd column before the even.
  void (*multiply_bf16_avx512)(const Bf16Product& product);
};

std::span<const Kernels> AvailableKernels();  // those this CPU runs; portable first
const Kernels& ActiveKernels();  // the fastest; SetActiveKernels forces one (tests, --kernels)
void SetActiveKernels(std::string_view name);  // Fails if this CPU cannot run it

}  // namespace cacheready
