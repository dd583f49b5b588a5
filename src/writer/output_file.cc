// SPDX-License-Identifier: Apache-2.0
#include "writer/output_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/console.h"
#include "base/error.h"

namespace cacheready {

bool MeansUnsupported(int error_number) {
  switch (error_number) {
    case EXDEV:
    case EPERM:
    case EMLINK:
    case EOPNOTSUPP:
    case ENOTTY:
    case ENOSYS:
    case EINVAL:
      return true;
    default:
      return false;
  }
}

OutputFile::OutputFile(const std::filesystem::path& path)
    : path_(path), descriptor_(RetryInterrupted([&] {
        return open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
      })) {
  if (descriptor_.get() < 0) Stop("cannot be created");
  struct stat status {};
  if (fstat(descriptor_.get(), &status) != 0) Stop("cannot be examined");
  if (!S_ISREG(status.st_mode) || status.st_nlink != 1) {
    Fail("{}: was just made, but is not a file of its own ({} links)", path_.string(),
         status.st_nlink);
  }
}

void OutputFile::Stop(const char* what) const {
  Fail("{}: {}: {}", path_.string(), what, std::strerror(errno));
}

void OutputFile::Reserve(std::uint64_t bytes) {
  if (bytes == 0) return;
  // Not posix_fallocate(): where the file system has no such call, glibc would write every block.
  const int failed = RetryInterrupted(
      [&] { return fallocate(descriptor_.get(), 0, 0, static_cast<off_t>(bytes)); });
  if (failed != 0 && !MeansUnsupported(errno)) Stop("space cannot be reserved");
}

bool OutputFile::TryCloneFrom(int source) {
  if (RetryInterrupted([&] { return ioctl(descriptor_.get(), FICLONE, source); }) == 0) return true;
  if (!MeansUnsupported(errno)) Stop("cannot be made as a reflink");
  return false;
}

void OutputFile::WritePastCache(ReadMode mode) {
  mode_ = mode;
  refused_ = !IsDirect(mode);
}

// False if the file system refuses.
bool OutputFile::SetDirect(bool direct) {
  if (direct == direct_) return true;
  const int flags = fcntl(descriptor_.get(), F_GETFL);
  if (flags < 0) Stop("cannot be examined");
  if (fcntl(descriptor_.get(), F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) != 0) {
    if (direct && MeansUnsupported(errno)) return false;
    Stop("cannot be set to another way of writing");
  }
  direct_ = direct;
  return true;
}

void OutputFile::TellRefused() const {
  if (mode_ != ReadMode::kAuto) Stop("cannot be written past the page cache (O_DIRECT)");
  Detail(fmt::format("writing: {} cannot be written past the page cache ({})", path_.string(),
                     std::strerror(errno)));
}

// Whole pages go past the page cache, what is left of the last one goes through it.
void OutputFile::WriteAt(std::uint64_t offset_bytes, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const bool at_page = offset_bytes % kReadAlignment == 0 &&
                         reinterpret_cast<std::uintptr_t>(bytes.data()) % kReadAlignment == 0;
    const std::size_t whole = at_page ? bytes.size() / kReadAlignment * kReadAlignment : 0;
    const bool direct = !refused_ && whole > 0;
    if (!SetDirect(direct)) {
      TellRefused();
      refused_ = true;
      continue;
    }
    const ssize_t written = RetryInterrupted([&] {
      return pwrite(descriptor_.get(), bytes.data(), direct ? whole : bytes.size(),
                    static_cast<off_t>(offset_bytes));
    });
    if (written < 0 && direct && errno == EINVAL) {  // blocks larger than a page
      TellRefused();
      refused_ = true;
      continue;
    }
    if (written < 0) Stop("cannot be written");
    if (written == 0) Fail("{}: cannot be written: nothing was taken", path_.string());
    offset_bytes += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void OutputFile::Truncate(std::uint64_t bytes) {
  if (RetryInterrupted([&] { return ftruncate(descriptor_.get(), static_cast<off_t>(bytes)); }) !=
      0) {
    Stop("cannot be shortened");
  }
}

void OutputFile::Finish() {
  if (RetryInterrupted([&] { return fsync(descriptor_.get()); }) != 0) Stop("cannot be synced");
  // Some network file systems report a failed write only here. Not retried on EINTR: the
  // descriptor is gone either way on Linux, and the bytes are already synced.
  if (close(descriptor_.Release()) != 0 && errno != EINTR) Stop("cannot be closed");
}

}  // namespace cacheready
