// Where the time of a run goes: phases of the thread that leads it, one inside another.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cacheready {

// From its construction to its destruction; what a phase inside it takes is counted there alone.
// `name` must outlive the program. On the leading thread only.
class Phase {
 public:
  explicit Phase(std::string_view name);
  ~Phase();
  Phase(const Phase&) = delete;
  Phase& operator=(const Phase&) = delete;

 private:
  std::string_view outer_;
};

struct PhaseTime {
  std::string_view name;
  double seconds = 0;      // of the clock
  double cpu_seconds = 0;  // of all threads of the process
};
std::vector<PhaseTime> PhaseTimes();  // most seconds first

// "mixers 12.3 s (15.2 CPUs busy), ..."; empty if there was no phase.
std::string PhaseText();

}  // namespace cacheready
