// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <cstdio>
#include <cstdlib>

namespace cacheready {

void CheckFailed(const char* file, int line, const char* condition, const std::string& message) {
  std::fputs(fmt::format("{}:{}: check failed: {}: {}\n", file, line, condition, message).c_str(),
             stderr);
  std::abort();
}

}  // namespace cacheready
