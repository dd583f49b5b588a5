// SPDX-License-Identifier: Apache-2.0
#include "base/memory.h"

#include <malloc.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>

#include "base/error.h"
#include "base/parallel.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr double kShareOfMachine = 0.6;
// Stacks, buffers of the allocator, decoded strips of weights.
constexpr std::uint64_t kBytesPerThread = 4 * kMiB, kSlack = 16 * kMiB;
constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();

// "VmHWM:   1234 kB" of a file of such lines, in bytes.
std::uint64_t KilobytesIn(const fs::path& file, const std::string& name) {
  std::ifstream lines(file);
  std::string line;
  while (std::getline(lines, line)) {
    if (line.rfind(name + ":", 0) != 0) continue;
    std::istringstream words(line.substr(name.size() + 1));
    std::uint64_t kilobytes = 0;
    if (words >> kilobytes) return kilobytes * 1024;
  }
  Fail("{}: has no line '{}: ... kB'", file.string(), name);
}

// The number in a file of a control group; none: absent, or "max".
std::uint64_t LimitIn(const fs::path& file) {
  std::ifstream text(file);
  std::uint64_t bytes = 0;
  return text >> bytes ? bytes : kNone;
}

// The smallest limit of a group and those above it.
std::uint64_t LimitOfGroup(const fs::path& hierarchy, const fs::path& group, const char* file) {
  std::uint64_t limit = LimitIn(hierarchy / file);
  fs::path folder = hierarchy;
  for (const fs::path& part : group.relative_path()) {
    folder /= part;
    limit = std::min(limit, LimitIn(folder / file));
  }
  return limit;
}

}  // namespace

std::uint64_t ResidentBytes() { return KilobytesIn("/proc/self/status", "VmRSS"); }
std::uint64_t PeakResidentBytes() { return KilobytesIn("/proc/self/status", "VmHWM"); }

std::uint64_t MemoryLimit(const fs::path& root) {
  std::uint64_t limit = KilobytesIn(root / "proc/meminfo", "MemTotal");
  std::ifstream groups(root / "proc/self/cgroup");  // "4:memory:/path", of version 2 "0::/path"
  std::string line;
  while (std::getline(groups, line)) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1));
    const fs::path group = line.substr(second + 1);
    if (controllers == ",,") {
      limit = std::min(limit, LimitOfGroup(root / "sys/fs/cgroup", group, "memory.max"));
    } else if (controllers.find(",memory,") != std::string::npos) {
      limit = std::min(limit,
                       LimitOfGroup(root / "sys/fs/cgroup/memory", group, "memory.limit_in_bytes"));
    }
  }
  return limit;
}

MemoryBounds BoundMemory(std::uint64_t max_bytes) {
  malloc_trim(0);  // what an earlier stage has freed is not in use
  MemoryBounds bounds;
  bounds.max_bytes =
      max_bytes > 0
          ? max_bytes
          : static_cast<std::uint64_t>(kShareOfMachine * static_cast<double>(MemoryLimit()));
  bounds.base_bytes =
      ResidentBytes() + kSlack + kBytesPerThread * static_cast<std::uint64_t>(NumThreads());
  return bounds;
}

std::uint64_t BytesLeft(std::uint64_t max_bytes, std::uint64_t least, std::string_view purpose) {
  const MemoryBounds bounds = BoundMemory(max_bytes);
  const std::uint64_t needed = bounds.base_bytes + least;
  if (needed <= bounds.max_bytes) return bounds.max_bytes - bounds.base_bytes;
  Fail("--max-memory: {} MiB are too little {}, which needs at least {} MiB",
       bounds.max_bytes / kMiB, purpose, (needed + kMiB - 1) / kMiB);
}

}  // namespace cacheready
