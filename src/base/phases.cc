// SPDX-License-Identifier: Apache-2.0
#include "base/phases.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "base/clock.h"

namespace cacheready {
namespace {

double CpuSeconds() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
}

struct Stopwatch {
  std::vector<PhaseTime> phases;
  std::string_view current;
  double since = 0, cpu_since = 0;

  // Charges what has passed to the current phase.
  void Enter(std::string_view name) {
    const double now = Seconds(), cpu = CpuSeconds();
    if (!current.empty()) {
      const auto found = std::ranges::find(phases, current, &PhaseTime::name);
      PhaseTime& time = found == phases.end() ? phases.emplace_back(PhaseTime{current}) : *found;
      time.seconds += now - since;
      time.cpu_seconds += cpu - cpu_since;
    }
    current = name;
    since = now;
    cpu_since = cpu;
  }
};

Stopwatch& TheStopwatch() {
  static thread_local Stopwatch stopwatch;
  return stopwatch;
}

}  // namespace

Phase::Phase(std::string_view name) : outer_(TheStopwatch().current) { TheStopwatch().Enter(name); }
Phase::~Phase() { TheStopwatch().Enter(outer_); }

std::vector<PhaseTime> PhaseTimes() {
  std::vector<PhaseTime> phases = TheStopwatch().phases;
  std::ranges::stable_sort(phases, std::greater(), &PhaseTime::seconds);
  return phases;
}

std::string PhaseText() {
  std::string text;
  for (const PhaseTime& phase : PhaseTimes()) {
    text += fmt::format("{}{} {:.1f} s ({:.1f} CPUs busy)", text.empty() ? "" : ", ", phase.name,
                        phase.seconds, phase.cpu_seconds / std::max(phase.seconds, 1e-9));
  }
  return text;
}

}  // namespace cacheready
