// Which vector instructions this CPU and its operating system offer. Asked once; the same answers
// choose every table of kernels. SPDX-License-Identifier: Apache-2.0
#pragma once

namespace cacheready {

struct CpuFeatures {
  bool avx2 = false;    // with FMA and F16C
  bool avx512 = false;  // F, BW, DQ and VL, beside the above
  bool avx512_bf16 = false;
  bool amx_bf16 = false;  // and this process may use the tiles
  bool amd = false;       // who makes it, where that tells how fast an instruction is
};
const CpuFeatures& Cpu();

}  // namespace cacheready
