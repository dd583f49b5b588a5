// SPDX-License-Identifier: Apache-2.0
#include "compute/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <atomic>
#include <string>
#include <vector>

#include "base/error.h"

namespace cacheready {
namespace {

#define CACHEREADY_KERNEL_TABLE(isa)                                                          \
  Kernels {                                                                                   \
#isa, isa::MultiplyPanel, isa::AddScaled, isa::MultiplyAdd, isa::Exponentials, isa::Silu, \
        isa::GatedDeltaStep, isa::PackBf16, isa::MultiplyBf16Amx, isa::MultiplyBf16Avx512     \
  }

#if defined(__x86_64__)
bool HasAvx512Bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & (1u << 5)) != 0;
}

// The tiles are there and the kernel lets this process use them. Asked before any thread does.
bool HasAmxBf16() {
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  if ((d & kBf16) == 0 || (d & kTile) == 0) return false;
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

#if defined(__x86_64__)
// Those of AVX-512 but for the products that there are instructions for.
void AddBf16Kernels(std::vector<Kernels>& kernels) {
  if (HasAvx512Bf16()) {
    kernels.push_back(kernels.back());
    kernels.back().name = "avx512bf16";
    kernels.back().multiply_bf16_avx512 = avx512bf16::MultiplyBf16Avx512;
  }
  if (HasAmxBf16()) {
    kernels.push_back(kernels.back());
    kernels.back().name = "amx";
    kernels.back().multiply_bf16_amx = amx::MultiplyBf16Amx;
  }
}
#endif

std::vector<Kernels> DetectKernels() {
  std::vector<Kernels> kernels = {CACHEREADY_KERNEL_TABLE(portable)};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    kernels.push_back(CACHEREADY_KERNEL_TABLE(avx2));
    if (__builtin_cpu_supports("avx512f")) {
      kernels.push_back(CACHEREADY_KERNEL_TABLE(avx512));
      AddBf16Kernels(kernels);
    }
  }
#endif
  return kernels;
}

const std::vector<Kernels>& Detected() {
  static const std::vector<Kernels> kernels = DetectKernels();
  return kernels;
}

std::atomic<const Kernels*> active{nullptr};

}  // namespace

std::span<const Kernels> AvailableKernels() { return Detected(); }

const Kernels& ActiveKernels() {
  const Kernels* chosen = active.load(std::memory_order_relaxed);
  return chosen != nullptr ? *chosen : Detected().back();
}

void SetActiveKernels(std::string_view name) {
  std::string names;
  for (const Kernels& kernels : Detected()) {
    if (kernels.name == name) {
      active.store(&kernels, std::memory_order_relaxed);
      return;
    }
    names += (names.empty() ? "" : ", ") + std::string(kernels.name);
  }
  Fail("kernels '{}' do not run on this CPU; it runs: {}", name, names);
}

}  // namespace cacheready
