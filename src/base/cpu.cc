// SPDX-License-Identifier: Apache-2.0
#include "base/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace cacheready {
namespace {

#if defined(__x86_64__)
struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};
Registers Leaf(unsigned leaf, unsigned subleaf) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
  return r;
}
bool Bit(unsigned value, int bit) { return (value >> bit & 1u) != 0; }

// Asked before any thread uses a tile.
bool MayUseTiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

CpuFeatures Detect() {
  CpuFeatures cpu;
  // The compiler's test includes whether the operating system saves the registers.
  cpu.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             Bit(Leaf(1, 0).c, 29);  // F16C
  cpu.avx512 = cpu.avx2 && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
  cpu.avx512_bf16 = cpu.avx512 && Bit(Leaf(7, 1).a, 5);
  const unsigned seven = Leaf(7, 0).d;
  cpu.amx_bf16 = cpu.avx512 && Bit(seven, 22) && Bit(seven, 24) && MayUseTiles();
  cpu.amd = Leaf(0, 0).b == 0x68747541u;  // "Auth" of AuthenticAMD
  return cpu;
}
#else
CpuFeatures Detect() { return {}; }
#endif

}  // namespace

const CpuFeatures& Cpu() {
  static const CpuFeatures cpu = Detect();
  return cpu;
}

}  // namespace cacheready
