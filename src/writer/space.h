// Room on the disk: counted before anything is made, then set aside.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "writer/file_tasks.h"
#include "writer/output_file.h"
#include "writer/writer.h"

namespace cacheready {

// Whether files of this folder's file system can be cloned, as far as its kind tells: only no is
// certain. Makes nothing.
bool MayReflink(const std::filesystem::path& folder);

// What a file is expected to become, and the bytes that this takes.
struct Forecast {
  std::string method;  // as in WrittenFile
  std::uint64_t bytes_needed = 0;
};
Forecast ForecastFile(const FileTask& task, const WriteOptions& options, std::uint64_t device,
                      bool reflink);

// Fails, with both numbers, if the file system of `folder` has fewer bytes free.
void CheckSpace(const std::filesystem::path& folder, std::uint64_t bytes_needed);

std::uint64_t DeviceOf(const std::filesystem::path& folder);

// Space held by a file of its own until the files that need it are made: what is released for one
// file is at once reserved by it.
class SpaceReservation {
 public:
  explicit SpaceReservation(const std::filesystem::path& path);
  ~SpaceReservation();  // gives everything back
  SpaceReservation(const SpaceReservation&) = delete;
  SpaceReservation& operator=(const SpaceReservation&) = delete;

  // Tries it: whether `source` can be cloned to here. Before Reserve().
  bool CanReflink(const std::filesystem::path& source);
  void Reserve(std::uint64_t bytes);
  void Release(std::uint64_t bytes);

 private:
  OutputFile file_;
  std::uint64_t bytes_ = 0;
};

}  // namespace cacheready
