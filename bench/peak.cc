// SPDX-License-Identifier: Apache-2.0
#include "peak.h"

#include "base/cpu.h"
#include "base/random.h"
#include "compute/kernels.h"
#include "tensor/aligned.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

constexpr std::int64_t kRounds = 20000;

#if defined(__x86_64__)

constexpr int kSums = 12;  // more than the latency of two units, 8

// sums = sums * factor + addend settles near addend / (1 - factor): no infinity, no subnormal.
struct FmaOperands {
  float factor[16], addend[16];
  FmaOperands() {
    for (std::uint64_t i = 0; i < 16; ++i) {
      factor[i] = static_cast<float>(0.5 + 0.4 * UniformAt(1, i));
      addend[i] = static_cast<float>(NormalAt(2, i));
    }
  }
};

// The loop is written out: compilers keep an array of sums in memory. `v` is "y" or "z"; registers
// 0 ... 11 hold sums, 12 the factor, 13 the addend.
#define FMA(v, sum) "vfmadd213ps %%" v "mm13, %%" v "mm12, %%" v "mm" #sum "\n"
#define LOAD(v, sum) "vmovaps %%" v "mm13, %%" v "mm" #sum "\n"
#define TWELVE(op, v)                                                                       \
  op(v, 0) op(v, 1) op(v, 2) op(v, 3) op(v, 4) op(v, 5) op(v, 6) op(v, 7) op(v, 8) op(v, 9) \
      op(v, 10) op(v, 11)
#define FMA_LOOP(v)              \
  FmaOperands operands;          \
  std::int64_t rounds = kRounds; \
  asm volatile("vmovups (%1), %%" v "mm12\n vmovups (%2), %%" v "mm13\n" TWELVE(LOAD, v)      \
               "1:\n" TWELVE(FMA, v) "dec %0\n jnz 1b\n"                                      \
               "vmovups %%" v "mm0, (%1)\n vzeroupper"                                        \
               : "+r"(rounds)                                                                 \
               : "r"(operands.factor), "r"(operands.addend)                                   \
               : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
                 "xmm10", "xmm11", "xmm12", "xmm13", "cc", "memory")

void RunAvx512() { FMA_LOOP("z"); }
void RunAvx2() { FMA_LOOP("y"); }

struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

#define LOAD_TILES(from)                                                               \
  asm volatile(                                                                        \
      "tileloadd (%0,%1,1), %%tmm4\n tileloadd 1024(%0,%1,1), %%tmm5\n"                \
      "tileloadd 2048(%0,%1,1), %%tmm6\n tileloadd 3072(%0,%1,1), %%tmm7" ::"r"(from), \
      "r"(std::int64_t{64})                                                            \
      : "memory")
#define MULTIPLY_TILES()                                                       \
  asm volatile(                                                                \
      "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n"  \
      "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n tdpbf16ps %%tmm7, %%tmm5, %%tmm3" :: \
          : "memory")

constexpr std::size_t kCachedSteps = 256, kStepNumbers = 2048;  // 1 MiB

// Rounds of two tiles by two; operands are loaded each time, from as many steps as there are.
void MultiplyOn(const AlignedVector<std::uint16_t>& numbers) {
  const TileConfig config;
  asm volatile(
      "ldtilecfg (%0)\n tilezero %%tmm0\n tilezero %%tmm1\n tilezero %%tmm2\n tilezero %%tmm3" ::
          "r"(&config)
      : "memory");
  const std::int64_t steps = static_cast<std::int64_t>(numbers.size() / kStepNumbers);
  LOAD_TILES(numbers.data());
  for (std::int64_t round = 0; round < kRounds; ++round) {
    if (steps > 1) {
      LOAD_TILES(numbers.data() + round % steps * static_cast<std::int64_t>(kStepNumbers));
    }
    MULTIPLY_TILES();
  }
  alignas(64) float sums[256];
  asm volatile("tilestored %%tmm3, (%0,%1,1)\n tilerelease" ::"r"(sums), "r"(std::int64_t{64})
               : "memory");
}

AlignedVector<std::uint16_t> Numbers(std::size_t count) {
  AlignedVector<std::uint16_t> numbers(count);
  for (std::size_t i = 0; i < count; ++i) {
    numbers[i] = FloatToBf16(static_cast<float>(NormalAt(3, i)));
  }
  return numbers;
}

void RunAmx() {
  static thread_local const auto numbers = Numbers(kStepNumbers);
  MultiplyOn(numbers);
}
void RunAmxFromCache() {
  static thread_local const auto numbers = Numbers(kCachedSteps * kStepNumbers);
  MultiplyOn(numbers);
}
#endif

}  // namespace

PeakLoop FmaPeak() {
#if defined(__x86_64__)
  if (Cpu().avx512 && ActiveKernels().name != "avx2") {
    return {"avx512-fma", 2.0 * 16 * kSums * kRounds, RunAvx512};
  }
  if (Cpu().avx2) {
    return {"avx2-fma", 2.0 * 8 * kSums * kRounds, RunAvx2};
  }
#endif
  return {"none"};
}

#if defined(__x86_64__)
namespace {

PeakLoop AmxLoop(std::string_view name, void (*run)()) {
  for (const Kernels& kernels : AvailableKernels()) {
    if (kernels.name == "amx") return {name, 2.0 * 4 * 16 * 16 * 32 * kRounds, run};
  }
  return {"none"};
}

}  // namespace

PeakLoop AmxPeak() { return AmxLoop("amx-bf16", RunAmx); }
PeakLoop AmxCachePeak() { return AmxLoop("amx-bf16-l2", RunAmxFromCache); }
#else
PeakLoop AmxPeak() { return {"none"}; }
PeakLoop AmxCachePeak() { return {"none"}; }
#endif

}  // namespace cacheready
