// SPDX-License-Identifier: Apache-2.0
#include "compute/kernels.h"

#include <atomic>
#include <string>
#include <vector>

#include "base/error.h"

namespace cacheready {
namespace {

#define CACHEREADY_KERNEL_TABLE(isa)                                                          \
  Kernels {                                                                                   \
#isa, isa::MultiplyPanel, isa::AddScaled, isa::MultiplyAdd, isa::Exponentials, isa::Silu, \
        isa::GatedDeltaStep                                                                   \
  }

std::vector<Kernels> DetectKernels() {
  std::vector<Kernels> kernels = {CACHEREADY_KERNEL_TABLE(portable)};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    kernels.push_back(CACHEREADY_KERNEL_TABLE(avx2));
    if (__builtin_cpu_supports("avx512f")) kernels.push_back(CACHEREADY_KERNEL_TABLE(avx512));
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
