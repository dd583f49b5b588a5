// SPDX-License-Identifier: Apache-2.0
#include "io/read_way.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "base/console.h"
#include "base/error.h"

namespace cacheready {
namespace {

// Pages of a range that must all be in the page cache.
constexpr std::uint64_t kMostProbes = 64;

}  // namespace

ReadMode ParseReadMode(std::string_view name) {
  const auto found = std::find(kReadModeNames.begin(), kReadModeNames.end(), name);
  if (found == kReadModeNames.end()) {
    Fail("there is no way of reading called '{}'; known: {}", name,
         fmt::join(kReadModeNames, ", "));
  }
  return static_cast<ReadMode>(found - kReadModeNames.begin());
}

bool IsDirect(ReadMode mode) { return mode != ReadMode::kBuffered && mode != ReadMode::kMapped; }

ReadWay::ReadWay(ReadMode mode) : mode_(mode), direct_(IsDirect(mode)) {
  if (mode == ReadMode::kUring) engine();
}

ReadEngine& ReadWay::engine() {
  if (engine_ != nullptr) return *engine_;
  if (direct_ && (mode_ == ReadMode::kAuto || mode_ == ReadMode::kUring)) {
    std::string reason;
    engine_ = MakeUringEngine(reason);
    if (engine_ != nullptr) return *engine_;
    if (mode_ == ReadMode::kUring) Fail("--io uring: io_uring is not available here: {}", reason);
    Detail("reading: io_uring is not available (" + reason + "): pread");
  }
  engine_ = MakePreadEngine();
  return *engine_;
}

// Some file systems refuse O_DIRECT.
int ReadWay::Open(int descriptor, const std::filesystem::path& path) {
  if (!direct_) return descriptor;
  const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
  const int direct = open(link.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  if (direct >= 0) return direct;
  const int reason = errno;
  if (mode_ == ReadMode::kAuto && (reason == EINVAL || reason == ENOENT)) {
    Detail(fmt::format("reading: {} cannot be read past the page cache ({})", path.string(),
                       std::strerror(reason)));
    direct_ = false;
    engine_.reset();  // io_uring is slow where it reads through the page cache
    return descriptor;
  }
  Fail("{}: cannot be opened for reading past the page cache (O_DIRECT): {}", path.string(),
       std::strerror(reason));
}

void AddPieces(const FileBytes& file, std::uint64_t begin, std::uint64_t end, std::byte* to,
               std::vector<ReadPiece>& pieces) {
  for (std::uint64_t at = begin; at < end; at += kReadBytes) {
    const std::uint64_t length = std::min<std::uint64_t>(kReadBytes, end - at);
    pieces.push_back({file.descriptor, at, static_cast<std::size_t>(length),
                      static_cast<std::size_t>(std::min(length, file.size - at)), to + (at - begin),
                      file.path, file.direct});
  }
}

bool IsCached(int descriptor, std::uint64_t begin, std::uint64_t end) {
  const std::uint64_t probes =
      std::clamp<std::uint64_t>((end - begin) / kReadAlignment, 2, kMostProbes);
  for (std::uint64_t n = 0; n < probes; ++n) {
    const std::uint64_t at = begin + (end - 1 - begin) / (probes - 1) * n;
    std::byte byte;
    const iovec part{&byte, 1};
    if (preadv2(descriptor, &part, 1, static_cast<off_t>(at), RWF_NOWAIT) != 1) return false;
  }
  return true;
}

}  // namespace cacheready
