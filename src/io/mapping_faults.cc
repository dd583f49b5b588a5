// SPDX-License-Identifier: Apache-2.0
#include "io/mapping_faults.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>

#include "base/error.h"

namespace cacheready {
namespace {

constexpr int kMaxMappings = 4096;
constexpr std::size_t kMaxPath = 500;

// Read by a signal handler, which may neither lock nor allocate: so a static table.
struct Mapping {
  std::atomic<std::uintptr_t> begin = 0;  // 0: the entry is free. Written last
  std::atomic<std::uintptr_t> end = 0;
  std::array<char, kMaxPath> path{};
};
static_assert(std::atomic<std::uintptr_t>::is_always_lock_free, "a signal handler may not lock");

std::array<Mapping, kMaxMappings> mappings;
std::mutex mappings_mutex;  // of those that note and forget
int exit_code_of_fault = 0;
std::atomic_flag told;

// Text put together without allocation.
class Line {
 public:
  void Add(const char* text) {
    const std::size_t length = std::min(std::strlen(text), text_.size() - used_);
    std::copy_n(text, length, text_.data() + used_);
    used_ += length;
  }
  void Add(std::uint64_t number) {
    std::array<char, 21> digits{};
    std::size_t at = digits.size() - 1;
    do {
      digits[--at] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number != 0);
    Add(&digits[at]);
  }
  void Write() const {
    for (std::size_t done = 0; done < used_;) {
      const ssize_t more = write(STDERR_FILENO, text_.data() + done, used_ - done);
      if (more <= 0) return;
      done += static_cast<std::size_t>(more);
    }
  }

 private:
  std::array<char, 1024> text_{};
  std::size_t used_ = 0;
};

extern "C" void HandleFault(int signal, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (const Mapping& mapping : mappings) {
    const std::uintptr_t begin = mapping.begin.load(std::memory_order_acquire);
    if (begin == 0 || address < begin || address >= mapping.end.load()) continue;
    while (told.test_and_set()) pause();  // another thread is about to end the program
    Line line;
    line.Add("cacheready: ");
    line.Add(mapping.path.data());
    line.Add(": byte ");
    line.Add(address - begin);
    line.Add(" of ");
    line.Add(mapping.end.load() - begin);
    line.Add(" shrank or could not be read while in use\n");
    line.Write();
    _exit(exit_code_of_fault);
  }
  std::signal(signal, SIG_DFL);  // and the touch is made once more
}

}  // namespace

void InstallMappingFaultHandler(int exit_code) {
  exit_code_of_fault = exit_code;
  struct sigaction action {};
  action.sa_sigaction = HandleFault;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_SIGINFO;
  CR_CHECK(sigaction(SIGBUS, &action, nullptr) == 0, "sigaction(SIGBUS)");
}

int NoteMapping(const void* address, std::size_t size, const std::filesystem::path& path) {
  const std::lock_guard lock(mappings_mutex);
  for (int n = 0; n < kMaxMappings; ++n) {
    Mapping& mapping = mappings[static_cast<std::size_t>(n)];
    if (mapping.begin.load() != 0) continue;
    const std::string text = PrintableText(path.string());
    const std::size_t length = std::min(text.size(), kMaxPath - 1);
    std::copy_n(text.data(), length, mapping.path.data());
    mapping.path[length] = '\0';
    const auto begin = reinterpret_cast<std::uintptr_t>(address);
    mapping.end.store(begin + size);
    mapping.begin.store(begin, std::memory_order_release);
    return n;
  }
  return -1;
}

void ForgetMapping(int noted) {
  if (noted >= 0) mappings[static_cast<std::size_t>(noted)].begin.store(0);
}

}  // namespace cacheready
