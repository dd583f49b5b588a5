// How much memory there is, and how much of it this process has.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>

namespace cacheready {

// In RAM: memory of its own and pages of files that it has touched.
std::uint64_t ResidentBytes();
// The most that it ever was.
std::uint64_t PeakResidentBytes();

// RAM, or the limit of a control group (version 1 or 2) that this process is in or below, whichever
// is smaller. `root` is "/" but in tests.
std::uint64_t MemoryLimit(const std::filesystem::path& root = "/");

}  // namespace cacheready
