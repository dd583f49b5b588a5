// SPDX-License-Identifier: Apache-2.0
#include "compute/kernels.h"

#include <atomic>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/error.h"
#include "formats/decode_kernels.h"

namespace cacheready {
namespace {

#define CACHEREADY_KERNEL_TABLE(isa)                                                          \
  Kernels {                                                                                   \
#isa, isa::MultiplyPanel, isa::Transpose, isa::MultiplyAdd, isa::Exponentials, isa::Silu, \
        isa::GatedDeltaStep, isa::RoundBf16, isa::QuantizeE4m3, isa::NarrowBf16,              \
        isa::MultiplyBf16Amx, isa::MultiplyBf16Avx512                                         \
  }

#if defined(__x86_64__)
// Those of AVX-512 but for the products that there are instructions for.
void AddBf16Kernels(std::vector<Kernels>& kernels) {
  if (Cpu().avx512_bf16) {
    kernels.push_back(kernels.back());
    kernels.back().name = "avx512bf16";
    kernels.back().multiply_bf16_avx512 = avx512bf16::MultiplyBf16Avx512;
  }
  if (Cpu().amx_bf16) {
    kernels.push_back(kernels.back());
    kernels.back().name = "amx";
    kernels.back().multiply_bf16_amx = amx::MultiplyBf16Amx;
  }
}
#endif

std::vector<Kernels> DetectKernels() {
  std::vector<Kernels> kernels = {CACHEREADY_KERNEL_TABLE(portable)};
#if defined(__x86_64__)
  if (Cpu().avx2) kernels.push_back(CACHEREADY_KERNEL_TABLE(avx2));
  if (Cpu().avx512) {
    kernels.push_back(CACHEREADY_KERNEL_TABLE(avx512));
    AddBf16Kernels(kernels);
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
      SetDecodeKernels(name);
      return;
    }
    names += (names.empty() ? "" : ", ") + std::string(kernels.name);
  }
  Fail("kernels '{}' do not run on this CPU; it runs: {}", name, names);
}

}  // namespace cacheready
