// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <cstdio>
#include <cstdlib>

namespace cacheready {

std::string PrintableText(const std::string& text) {
  constexpr std::size_t kMaxBytes = 8192;
  std::string printable;
  for (const char c : text) {
    if (printable.size() >= kMaxBytes) return printable + "...";
    const auto code = static_cast<unsigned char>(c);
    if ((code < 0x20 && c != '\n') || code == 0x7F) {
      printable += fmt::format("\\x{:02x}", code);
    } else {
      printable += c;
    }
  }
  return printable;
}

void CheckFailed(const char* file, int line, const char* condition, const std::string& message) {
  std::fputs(fmt::format("{}:{}: check failed: {}: {}\n", file, line, condition, message).c_str(),
             stderr);
  std::abort();
}

}  // namespace cacheready
