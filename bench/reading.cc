// How fast each way of reading brings a file into memory, part by part, as layers are read: with
// the page cache emptied of it, and once more. Usage: bench_reading FILE [MiB of a part]
// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "io/image_reader.h"

namespace cacheready {
namespace {

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Every byte is used once, as far as its cache line.
std::uint64_t Touch(std::span<const std::byte> bytes) {
  std::uint64_t sum = 0;
  for (std::size_t n = 0; n < bytes.size(); n += 64) sum += static_cast<std::uint64_t>(bytes[n]);
  return sum;
}

void Measure(const MappedFile& file, const char* way, std::uint64_t part, bool cold) {
  if (cold) posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
  ImageReader reader(ParseReadMode(way));
  const double begin = Seconds(), cpu = CpuSeconds();
  std::uint64_t sum = 0, most = 0;
  for (std::uint64_t at = 0; at < file.bytes().size(); at += part) {
    const std::uint64_t end = std::min<std::uint64_t>(file.bytes().size(), at + part);
    const auto ranges = MergeRanges({{&file, at, end}});
    reader.Load(ranges);
    sum += Touch(file.bytes().subspan(at, end - at));
    most = std::max(most, ResidentBytes());
    reader.Reclaim(ranges);
  }
  const double seconds = Seconds() - begin;
  fmt::print("{:9} {:5} {:6.2f} GB/s  {:5.2f} s of CPU per GB  {:5} MiB in memory  [{:x}]\n", way,
             cold ? "cold" : "again", 1e-9 * static_cast<double>(file.bytes().size()) / seconds,
             (CpuSeconds() - cpu) / (1e-9 * static_cast<double>(file.bytes().size())), most >> 20,
             sum);
}

}  // namespace
}  // namespace cacheready

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: bench_reading FILE [MiB of a part]\n", stderr);
    return 2;
  }
  try {
    const cacheready::MappedFile file(argv[1]);
    const std::uint64_t part = (argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 256) << 20;
    for (int round = 0; round < 3; ++round) {
      for (const char* way : {"uring", "direct", "buffered", "mmap", "auto"}) {
        cacheready::Measure(file, way, part, true);
      }
    }
    cacheready::Measure(file, "mmap", part, true);
    for (const char* way : {"mmap", "auto", "uring"}) {
      cacheready::Measure(file, way, part, false);
    }
  } catch (const cacheready::Error& error) {
    std::fputs((std::string(error.what()) + "\n").c_str(), stderr);
    return 3;
  }
  return 0;
}
