// SPDX-License-Identifier: Apache-2.0
#include "formats/decode_kernels.h"

#include <atomic>
#include <vector>

#include "base/cpu.h"
#include "formats/decode_functions.h"

namespace cacheready {
namespace {

#define CACHEREADY_DECODE_TABLE(isa)                                                         \
  DecodeKernels {                                                                            \
#isa, isa::WidenBf16, isa::WidenF16, isa::WidenE4m3, isa::E4m3ToBf16, isa::WidenNibbles, \
        isa::WidenSignedBytes, isa::WidenBytes, isa::WidenFields, isa::MultiplyBlocks,       \
        isa::SubtractBlocks, isa::AddDither                                                  \
  }

const std::vector<DecodeKernels>& Detected() {
  static const std::vector<DecodeKernels> kernels = [] {
    std::vector<DecodeKernels> tables = {CACHEREADY_DECODE_TABLE(portable)};
#if defined(__x86_64__)
    if (Cpu().avx2) tables.push_back(CACHEREADY_DECODE_TABLE(avx2));
    if (Cpu().avx512) tables.push_back(CACHEREADY_DECODE_TABLE(avx512));
#endif
    return tables;
  }();
  return kernels;
}

std::atomic<const DecodeKernels*> active{nullptr};

}  // namespace

std::span<const DecodeKernels> AvailableDecodeKernels() { return Detected(); }

const DecodeKernels& ActiveDecodeKernels() {
  const DecodeKernels* chosen = active.load(std::memory_order_relaxed);
  return chosen != nullptr ? *chosen : Detected().back();
}

void SetDecodeKernels(std::string_view name) {
  const DecodeKernels* chosen = &Detected().back();
  for (const DecodeKernels& kernels : Detected()) {
    if (kernels.name == name) chosen = &kernels;
  }
  active.store(chosen, std::memory_order_relaxed);
}

}  // namespace cacheready
