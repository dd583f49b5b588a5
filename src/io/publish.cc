// SPDX-License-Identifier: Apache-2.0
#include "io/publish.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace cacheready {
namespace {

std::filesystem::path FolderOf(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

// A file beside its target until it is renamed over it; removed if that never happens.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::filesystem::path& target) {
    static std::atomic<unsigned> counter = 0;
    path_ = FolderOf(target) / fmt::format(".{}.{}.{}.tmp", target.filename().string(), getpid(),
                                           counter.fetch_add(1));
    descriptor_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0) Stop("cannot be created");
  }

  ~TemporaryFile() {
    if (descriptor_ >= 0) close(descriptor_);
    if (!published_) unlink(path_.c_str());
  }

  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void Write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t written = write(descriptor_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) Stop("cannot be written");
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  void Sync() {
    if (fsync(descriptor_) != 0) Stop("cannot be synced");
    // Some network file systems report a failed write only here.
    if (close(std::exchange(descriptor_, -1)) != 0) Stop("cannot be closed");
  }

  void RenameOver(const std::filesystem::path& target) {
    if (rename(path_.c_str(), target.c_str()) != 0) {
      Fail("{}: cannot be replaced: {}", target.string(), std::strerror(errno));
    }
    published_ = true;
  }

 private:
  [[noreturn]] void Stop(std::string_view what) const {
    Fail("{}: {}: {}", path_.string(), what, std::strerror(errno));
  }

  std::filesystem::path path_;
  int descriptor_ = -1;
  bool published_ = false;
};

// ".NAME.PID.NUMBER.tmp", as TemporaryFile makes it.
bool IsTemporaryName(std::string_view name) {
  constexpr std::string_view kEnd = ".tmp";
  if (!name.starts_with('.') || !name.ends_with(kEnd)) return false;
  name.remove_suffix(kEnd.size());
  for (int part = 0; part < 2; ++part) {
    const std::size_t dot = name.rfind('.');
    const std::string_view number = name.substr(dot + 1);
    if (dot == 0 || number.empty() ||
        number.find_first_not_of("0123456789") != std::string_view::npos) {
      return false;
    }
    name = name.substr(0, dot);
  }
  return true;
}

}  // namespace

void RemoveTemporaryFiles(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> left;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const bool regular = std::filesystem::is_regular_file(entry.symlink_status());
    if (regular && IsTemporaryName(entry.path().filename().string())) left.push_back(entry.path());
  }
  for (const std::filesystem::path& path : left) std::filesystem::remove(path);
}

void PublishFile(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  const std::filesystem::file_status status = std::filesystem::symlink_status(path);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status) &&
      !std::filesystem::is_symlink(status)) {
    Fail("{}: exists and is not a regular file", path.string());
  }
  TemporaryFile file(path);
  file.Write(bytes);
  file.Sync();
  file.RenameOver(path);
  SyncFolder(FolderOf(path));
}

void PublishFile(const std::filesystem::path& path, std::string_view text) {
  PublishFile(path, std::as_bytes(std::span(text.data(), text.size())));
}

void MakeFolders(const std::filesystem::path& folder) {
  const std::filesystem::path absolute = std::filesystem::absolute(folder);
  std::filesystem::path at;
  for (const std::filesystem::path& part : absolute.lexically_normal()) {
    const std::filesystem::path parent = at;
    at /= part;
    std::error_code error;
    if (std::filesystem::is_directory(at, error)) continue;
    const bool made = std::filesystem::create_directory(at, error);
    if (error) Fail("{}: cannot be made: {}", at.string(), error.message());
    if (made) SyncFolder(parent);
  }
}

void SyncFolder(const std::filesystem::path& folder) {
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) {
    Fail("{}: folder cannot be opened: {}", folder.string(), std::strerror(errno));
  }
  // EINVAL: a file system whose folders need no fsync.
  const int reason = fsync(descriptor) == 0 || errno == EINVAL ? 0 : errno;
  close(descriptor);
  if (reason != 0) Fail("{}: folder cannot be synced: {}", folder.string(), std::strerror(reason));
}

FolderLock::FolderLock(const std::filesystem::path& lock_file) {
  descriptor_ = open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) {
    Fail("{}: cannot be opened as a lock: {}", lock_file.string(), std::strerror(errno));
  }
  int failed = flock(descriptor_, LOCK_EX | LOCK_NB);
  while (failed != 0 && errno == EINTR) failed = flock(descriptor_, LOCK_EX | LOCK_NB);
  if (failed == 0) return;
  const int reason = errno;
  close(descriptor_);
  if (reason == EWOULDBLOCK) {
    Fail("{}: locked by another process that works here; wait for it or stop it",
         lock_file.string());
  }
  Fail("{}: cannot be locked: {}", lock_file.string(), std::strerror(reason));
}

FolderLock::~FolderLock() { close(descriptor_); }

}  // namespace cacheready
