// SPDX-License-Identifier: Apache-2.0
#include "writer/space.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

// Files end in partly filled blocks; 4 KiB is the largest common block.
constexpr std::uint64_t kDiskBlockBytes = 4096;

std::uint64_t WholeBlocks(std::uint64_t bytes) {
  return (bytes + kDiskBlockBytes - 1) / kDiskBlockBytes * kDiskBlockBytes;
}

}  // namespace

bool MayReflink(const fs::path& folder) {
  struct statfs status {};
  if (statfs(folder.c_str(), &status) != 0) return false;
  return status.f_type != EXT4_SUPER_MAGIC && status.f_type != TMPFS_MAGIC;
}

Forecast ForecastFile(const FileTask& task, const WriteOptions& options, std::uint64_t device,
                      bool reflink) {
  const bool patched = !task.rows.empty();
  const bool same_device = task.device == device;
  if (task.is_new()) return {"new", WholeBlocks(task.bytes)};
  if (options.link == LinkMode::kHardlink && !patched && same_device) return {"hard link", 0};
  if (options.link != LinkMode::kCopy && same_device && reflink) {
    const std::uint64_t blocks_touched = 2 * task.rows.size() * kDiskBlockBytes;
    return {patched ? "patched reflink" : "reflink", blocks_touched + task.PatchedBytes()};
  }
  return {patched ? "patched copy" : "copy", WholeBlocks(task.bytes)};
}

void CheckSpace(const fs::path& folder, std::uint64_t bytes_needed) {
  struct statvfs status {};
  if (statvfs(folder.c_str(), &status) != 0) {
    Fail("{}: its free space cannot be read: {}", folder.string(), std::strerror(errno));
  }
  const std::uint64_t free = std::uint64_t{status.f_bavail} * status.f_frsize;
  if (bytes_needed > free) {
    Fail("{}: {} bytes are needed, {} are free; free some space, or link instead of copying",
         folder.string(), bytes_needed, free);
  }
}

std::uint64_t DeviceOf(const fs::path& folder) {
  struct stat status {};
  if (stat(folder.c_str(), &status) != 0) {
    Fail("{}: cannot be examined: {}", folder.string(), std::strerror(errno));
  }
  return status.st_dev;
}

SpaceReservation::SpaceReservation(const fs::path& path) : file_(path) {}

SpaceReservation::~SpaceReservation() { unlink(file_.path().c_str()); }

bool SpaceReservation::CanReflink(const fs::path& source) {
  if (!file_.TryCloneFrom(OpenForReading(source).get())) return false;
  file_.Truncate(0);
  return true;
}

void SpaceReservation::Reserve(std::uint64_t bytes) {
  file_.Reserve(bytes);
  bytes_ = bytes;
}

void SpaceReservation::Release(std::uint64_t bytes) {
  bytes_ -= std::min(bytes, bytes_);
  file_.Truncate(bytes_);
}

}  // namespace cacheready
