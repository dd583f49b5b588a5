// Narration on stderr: stdout is data. Silent under -q; progress only on a terminal.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace cacheready {

enum class Verbosity { kQuiet, kNormal, kVerbose };
void SetVerbosity(Verbosity verbosity);
Verbosity GetVerbosity();

void Note(const std::string& line);    // normal and verbose
void Detail(const std::string& line);  // verbose only
void Warn(const std::string& line);    // always, even under -q; prefixed "warning: "

std::string DurationText(double seconds);  // "41 s", "3 min 05 s", "2 h 07 min"

// One redrawn status line (layer i of n, rate, time left). Does nothing when stderr is no terminal
// or under -q.
class Progress {
 public:
  Progress(std::string label, std::int64_t total);
  ~Progress();  // clears the line
  void Update(std::int64_t done, const std::string& detail = "");

 private:
  std::string label_;
  std::int64_t total_;
  double start_seconds_;
  bool drawn_ = false;
};

// True once SIGINT or SIGTERM was received after InstallInterruptHandler(). ThrowIfInterrupted
// throws Interrupted.
void InstallInterruptHandler();
bool InterruptRequested();
void ThrowIfInterrupted();

}  // namespace cacheready
