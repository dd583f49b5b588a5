// SPDX-License-Identifier: Apache-2.0
#include "base/console.h"

#include <unistd.h>

#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdio>

#include "base/clock.h"
#include "base/error.h"

namespace cacheready {
namespace {

std::atomic<Verbosity> current_verbosity = Verbosity::kNormal;
std::atomic<int> interrupted = 0;
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may not lock");

extern "C" void HandleInterrupt(int) { interrupted.store(1); }

void WriteLine(const std::string& line) { std::fputs((line + "\n").c_str(), stderr); }

}  // namespace

std::string DurationText(double seconds) {
  const auto whole = std::int64_t{std::llround(seconds)};
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

void SetVerbosity(Verbosity verbosity) { current_verbosity = verbosity; }
Verbosity GetVerbosity() { return current_verbosity; }

void Note(const std::string& line) {
  if (GetVerbosity() != Verbosity::kQuiet) WriteLine(line);
}

void Detail(const std::string& line) {
  if (GetVerbosity() == Verbosity::kVerbose) WriteLine(line);
}

void Warn(const std::string& line) { WriteLine("warning: " + line); }

Progress::Progress(std::string label, std::int64_t total)
    : label_(std::move(label)), total_(total), start_seconds_(Seconds()) {}

Progress::~Progress() {
  if (drawn_) std::fputs("\r\033[K", stderr);
}

void Progress::Update(std::int64_t done, const std::string& detail) {
  if (GetVerbosity() == Verbosity::kQuiet || isatty(STDERR_FILENO) == 0) return;
  std::string line = fmt::format("\r\033[K{} {}/{}", label_, done, total_);
  const double elapsed = Seconds() - start_seconds_;
  if (done > 0 && done < total_ && elapsed > 1) {
    const double left = elapsed / static_cast<double>(done) * static_cast<double>(total_ - done);
    line += fmt::format(", {} left", DurationText(left));
  }
  if (!detail.empty()) line += " " + detail;
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
  drawn_ = true;
}

void InstallInterruptHandler() {
  struct sigaction action {};
  action.sa_handler = HandleInterrupt;
  sigemptyset(&action.sa_mask);
  // The second signal ends the program at once, whatever it is doing. System calls are restarted.
  action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM}) {
    CR_CHECK(sigaction(signal, &action, nullptr) == 0, "sigaction({})", signal);
  }
}

bool InterruptRequested() { return interrupted.load() != 0; }

void ThrowIfInterrupted() {
  if (InterruptRequested()) throw Interrupted("interrupted; run the same command again to go on");
}

}  // namespace cacheready
