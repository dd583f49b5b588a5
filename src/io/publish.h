// Making files and folders appear whole or not at all: temporary beside the target, fsync, rename,
// fsync the folder.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace cacheready {

// Replaces `path` (a regular file or nothing) in one step. On failure the old file is untouched and
// no temporary stays.
void PublishFile(const std::filesystem::path& path, std::span<const std::byte> bytes);
void PublishFile(const std::filesystem::path& path, std::string_view text);

// Removes what calls of PublishFile into this folder left there when they were killed. Requires: no
// other process publishes there now (FolderLock).
void RemoveTemporaryFiles(const std::filesystem::path& folder);

// Makes a folder and those above it that are missing; the names of all that were made are durable.
// No change if it is there. Fails naming it.
void MakeFolders(const std::filesystem::path& folder);

// fsync of a folder, so that names made in it are durable.
void SyncFolder(const std::filesystem::path& folder);

// An exclusive advisory lock (flock) on a file, made if absent; Fails at once if another process
// holds it.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& lock_file);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace cacheready
