// Numerics classes: what the bits of a matrix product depend on. A class is a definition, not a CPU
// feature: each gives the same bits on every machine, fast where there is an instruction for it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace cacheready {

enum class Numerics : std::uint8_t {
  kFp32Chain,   // one chain of fp32 fused multiply-adds an output
  kBf16Amx,     // compute/matmul_bf16.h: TDPBF16PS
  kBf16Avx512,  // VDPBF16PS
};

// "fp32-chain-1", "bf16-amx-1", "bf16-avx512-1": part of the identity of scans and plans.
std::string_view NumericsClassName(Numerics numerics);

// "fp32"; "bf16": the bf16 class that this CPU has an instruction for, Fails if it has none;
// "auto": that class where it is known to be faster than fp32, else fp32; or the name of a class,
// whose bits are emulated where there is no instruction. "" is fp32. Fails, listing these, on
// anything else.
Numerics ParseNumerics(std::string_view text);

}  // namespace cacheready
