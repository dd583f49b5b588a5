// SPDX-License-Identifier: Apache-2.0
#include "writer/out_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "io/publish.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

fs::path WithSuffix(const fs::path& path, const char* suffix) {
  fs::path result = path;
  result += suffix;
  return result;
}

bool IsSameOrInside(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first ==
         folder.end();
}

fs::path AbsoluteOut(const fs::path& out) {
  fs::path absolute = fs::absolute(out).lexically_normal();
  if (!absolute.has_filename()) absolute = absolute.parent_path();
  if (!absolute.has_filename()) Fail("'{}' cannot be the output folder", out.string());
  std::error_code error;
  const fs::path parent = fs::canonical(absolute.parent_path(), error);
  if (error) {
    Fail("{}: the folder of the output cannot be used: {}; make it first",
         absolute.parent_path().string(), error.message());
  }
  return parent / absolute.filename();
}

// The unlink of a file that the source needs would be as bad as a write to it.
void CheckApart(const fs::path& source, std::span<const FileTask> tasks, const fs::path& folder) {
  if (IsSameOrInside(folder, source)) {
    Fail("{}: is the source folder or lies inside it; choose another output", folder.string());
  }
  if (IsSameOrInside(source, folder)) {
    Fail("{}: the source {} lies inside it; choose another output", folder.string(),
         source.string());
  }
  if (!fs::exists(fs::symlink_status(folder))) return;
  if (fs::equivalent(folder, source)) {
    Fail("{}: is the source folder under another name; choose another output", folder.string());
  }
  for (const FileTask& task : tasks) {
    if (!task.is_new() && IsSameOrInside(fs::canonical(task.source), folder)) {
      Fail("{}: the source's file '{}' lies inside it; choose another output", folder.string(),
           task.path);
    }
  }
}

FileIdentity Identify(const fs::path& path) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    Fail("{}: cannot be examined: {}", path.string(), std::strerror(errno));
  }
  return {status.st_dev, status.st_ino};
}

void SyncFoldersBelow(const fs::path& folder) {
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_directory() && !entry.is_symlink()) SyncFolder(entry.path());
  }
  SyncFolder(folder);
}

int Rename(const fs::path& from, const fs::path& to, unsigned flags) {
  return renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags);
}

// A plain rename() of a folder replaces an empty folder or nothing, never anything else; it serves
// where the file system knows no flags, and for an OUT that exists and is empty.
void RenameToNew(const fs::path& from, const fs::path& to) {
  if (Rename(from, to, RENAME_NOREPLACE) == 0) return;
  const int reason = errno;
  const bool plain = reason == EINVAL || reason == ENOSYS || reason == EEXIST;
  if (plain && std::rename(from.c_str(), to.c_str()) == 0) return;
  Fail("{}: the finished folder {} cannot take this name: {}", to.string(), from.string(),
       std::strerror(plain ? errno : reason));
}

}  // namespace

fs::path JournalOf(const fs::path& out) { return WithSuffix(AbsoluteOut(out), ".partial.journal"); }

OutFolder LocateOut(const Checkpoint& source, std::span<const FileTask> tasks,
                    const fs::path& out) {
  OutFolder place;
  place.out = AbsoluteOut(out);
  place.partial = WithSuffix(place.out, ".partial");
  place.journal = JournalOf(out);
  place.reserve = WithSuffix(place.partial, ".reserve");
  const fs::file_status status = fs::symlink_status(place.out);
  if (fs::exists(status) && !fs::is_directory(status)) {
    Fail("{}: exists and is not a folder; choose another output", place.out.string());
  }
  const fs::path source_folder = fs::canonical(source.folder());
  CheckApart(source_folder, tasks, place.out);
  CheckApart(source_folder, tasks, place.partial);
  place.exists = fs::exists(status) && !fs::is_empty(place.out);
  return place;
}

void CheckReplaceable(const OutFolder& place, bool force) {
  if (!place.exists) return;
  if (!force) {
    Fail("{}: exists and is not empty; choose another output, or --force to replace it",
         place.out.string());
  }
  if (!fs::exists(place.out / "config.json")) {
    Fail("{}: has no config.json, so it is no checkpoint and is not replaced, even with --force",
         place.out.string());
  }
}

bool IsPublished(const OutFolder& place, const Journal& journal) {
  return journal.published() && fs::exists(fs::symlink_status(place.out)) &&
         Identify(place.out) == *journal.published();
}

void Publish(const OutFolder& place, Journal& journal, bool force) {
  SyncFoldersBelow(place.partial);
  journal.AddPublished(Identify(place.partial));
  if (force && place.exists) {
    if (Rename(place.partial, place.out, RENAME_EXCHANGE) != 0) {
      Fail("{}: cannot be exchanged with the finished {}: {}; move it away and run again",
           place.out.string(), place.partial.string(), std::strerror(errno));
    }
  } else {
    RenameToNew(place.partial, place.out);
  }
  SyncFolder(place.out.parent_path());
}

void TidyUp(const OutFolder& place) {
  std::error_code error;
  fs::remove_all(place.partial, error);
  if (!error) fs::remove(place.reserve, error);
  if (error) {
    Fail("{} is complete, but {} cannot be removed: {}", place.out.string(), place.partial.string(),
         error.message());
  }
  SyncFolder(place.out.parent_path());
  fs::remove(place.journal, error);
  if (error) Fail("{}: cannot be removed: {}", place.journal.string(), error.message());
  SyncFolder(place.out.parent_path());
}

}  // namespace cacheready
