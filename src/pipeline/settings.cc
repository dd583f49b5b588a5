// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/parallel.h"
#include "cacheready/cacheready.h"

namespace cacheready {

void SetThreads(int threads) {
  if (threads < 1) Fail("--threads is {}, expected at least 1", threads);
  SetNumThreads(threads);
}

const char* Version() { return CACHEREADY_VERSION; }

}  // namespace cacheready
