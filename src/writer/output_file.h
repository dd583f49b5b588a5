// One file that is being made: new, ours alone, and durable when Finish() returns.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

#include "io/descriptor.h"
#include "io/read_way.h"

namespace cacheready {

// True for the ways in which a kernel or file system says that it cannot do this kind of thing, so
// that the next method is tried.
bool MeansUnsupported(int error_number);

class OutputFile {
 public:
  // Fails if anything has that name: a file that existed before is never opened for writing.
  explicit OutputFile(const std::filesystem::path& path);

  void Reserve(std::uint64_t bytes);  // space is set aside; a no-op where that is not supported
  bool TryCloneFrom(int source);      // reflink of the whole file; false where not supported
  // From now on what is written in whole pages, from memory at a page, goes past the page cache. A
  // file system that refuses this writes as before under kAuto; otherwise that Fails. No change for
  // modes that read through the page cache.
  void WritePastCache(ReadMode mode);
  void WriteAt(std::uint64_t offset_bytes, std::span<const std::byte> bytes);
  void Truncate(std::uint64_t bytes);
  void Finish();  // fsync and close

  const std::filesystem::path& path() const { return path_; }

 private:
  [[noreturn]] void Stop(const char* what) const;
  bool SetDirect(bool direct);
  void TellRefused() const;

  std::filesystem::path path_;
  Descriptor descriptor_;
  ReadMode mode_ = ReadMode::kBuffered;
  bool direct_ = false;  // O_DIRECT is set now
  bool refused_ = true;  // O_DIRECT is not to be used
};

}  // namespace cacheready
