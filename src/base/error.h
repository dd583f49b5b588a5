// The one error type, and the two ways to stop: Fail (the world is wrong) and CR_CHECK (we are
// wrong).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace cacheready {

// `text` made safe for a terminal and a log, since names in messages come from files that anybody
// may have written: control characters except newline as \xNN, cut after 8192 bytes.
std::string PrintableText(const std::string& text);

// A file, a config, an option or the machine is not as it must be. The message names the file, the
// tensor, what was expected, what was found and, where one is known, what to do. Caught only in
// cli/main.cc and by tests.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(PrintableText(message)) {}
};

// SIGINT or SIGTERM asked the run to stop at the next layer; the program exits with 75 and can go
// on later.
class Interrupted : public Error {
 public:
  using Error::Error;
};

template <typename... Args>
[[noreturn]] void Fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              const std::string& message);

}  // namespace cacheready

// Always compiled in. For our own mistakes only, never for input.
#define CR_CHECK(condition, ...)                                                             \
  do {                                                                                       \
    if (!(condition))                                                                        \
      ::cacheready::CheckFailed(__FILE__, __LINE__, #condition, ::fmt::format(__VA_ARGS__)); \
  } while (false)
