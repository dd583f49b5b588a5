// How much memory there is, and how much of it this process has.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace cacheready {

// In RAM: memory of its own and pages of files that it has touched.
std::uint64_t ResidentBytes();
// The most that it ever was.
std::uint64_t PeakResidentBytes();

// RAM, or the limit of a control group (version 1 or 2) that this process is in or below, whichever
// is smaller. `root` is "/" but in tests.
std::uint64_t MemoryLimit(const std::filesystem::path& root = "/");

// What a process may use, and what it uses already.
struct MemoryBounds {
  std::uint64_t max_bytes = 0;
  std::uint64_t base_bytes = 0;  // resident now, and what NumThreads() take as they run
};
// `max_bytes` 0: 60 % of MemoryLimit(). Gives back first what was freed.
MemoryBounds BoundMemory(std::uint64_t max_bytes);

// What is left for buffers. Fails, naming --max-memory and the least that is enough, if `least`
// bytes are not; `purpose`: "to copy files".
std::uint64_t BytesLeft(std::uint64_t max_bytes, std::uint64_t least, std::string_view purpose);

}  // namespace cacheready
