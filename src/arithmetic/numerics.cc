// SPDX-License-Identifier: Apache-2.0
#include "arithmetic/numerics.h"

#include <array>
#include <optional>

#include "base/cpu.h"
#include "base/error.h"
#include "compute/matmul_bf16.h"

namespace cacheready {
namespace {

constexpr std::array<Numerics, 3> kClasses = {Numerics::kFp32Chain, Numerics::kBf16Amx,
                                              Numerics::kBf16Avx512};

std::optional<Numerics> OfThisCpu() {
  if (Cpu().amx_bf16) return Numerics::kBf16Amx;
  if (Cpu().avx512_bf16) return Numerics::kBf16Avx512;
  return std::nullopt;
}

// VDPBF16PS multiplies twice as fast as fp32 on AMD's cores and half as fast on Intel's.
Numerics FastestOfThisCpu() {
  if (Cpu().amx_bf16) return Numerics::kBf16Amx;
  if (Cpu().avx512_bf16 && Cpu().amd) return Numerics::kBf16Avx512;
  return Numerics::kFp32Chain;
}

}  // namespace

std::string_view NumericsClassName(Numerics numerics) {
  switch (numerics) {
    case Numerics::kFp32Chain:
      return "fp32-chain-1";
    case Numerics::kBf16Amx:
      return NumericsClassName(Bf16Numerics::kAmx);
    case Numerics::kBf16Avx512:
      return NumericsClassName(Bf16Numerics::kAvx512);
  }
  CR_CHECK(false, "numerics class {}", static_cast<int>(numerics));
}

Numerics ParseNumerics(std::string_view text) {
  if (text.empty() || text == "fp32") return Numerics::kFp32Chain;
  if (text == "auto") return FastestOfThisCpu();
  for (const Numerics numerics : kClasses) {
    if (NumericsClassName(numerics) == text) return numerics;
  }
  if (text != "bf16") {
    Fail("--numerics is '{}', expected fp32, bf16, auto, or a class: {}, {}, {}", text,
         NumericsClassName(kClasses[0]), NumericsClassName(kClasses[1]),
         NumericsClassName(kClasses[2]));
  }
  const std::optional<Numerics> numerics = OfThisCpu();
  if (!numerics) {
    Fail(
        "--numerics bf16: this CPU has no instruction for it (AMX-BF16 or AVX512-BF16); use fp32, "
        "or emulate {} or {}, many times slower, by naming it",
        NumericsClassName(Numerics::kBf16Amx), NumericsClassName(Numerics::kBf16Avx512));
  }
  return *numerics;
}

}  // namespace cacheready
