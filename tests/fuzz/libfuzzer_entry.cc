// libFuzzer's entry point, compiled once for each target with its function's name.
// SPDX-License-Identifier: Apache-2.0
#include "fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cacheready::CACHEREADY_FUZZ_TARGET({data, size});
  return 0;
}
