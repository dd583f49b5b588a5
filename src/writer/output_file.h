// One file that is being made: new, ours alone, and durable when Finish() returns.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

namespace cacheready {

// Owns a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return descriptor_; }
  int Release();

 private:
  int descriptor_;
};

Descriptor OpenSource(const std::filesystem::path& path);  // read-only; Fails naming it

// True for the ways in which a kernel or file system says that it cannot do this kind of thing, so
// that the next method is tried.
bool MeansUnsupported(int error_number);

class OutputFile {
 public:
  // Fails if anything has that name: a file that existed before is never opened for writing.
  explicit OutputFile(const std::filesystem::path& path);

  void Reserve(std::uint64_t bytes);  // space is set aside; a no-op where that is not supported
  bool TryCloneFrom(int source);      // reflink of the whole file; false where not supported
  void WriteAt(std::uint64_t offset_bytes, std::span<const std::byte> bytes);
  void Truncate(std::uint64_t bytes);
  void Finish();  // fsync and close

  const std::filesystem::path& path() const { return path_; }

 private:
  [[noreturn]] void Stop(const char* what) const;

  std::filesystem::path path_;
  Descriptor descriptor_;
};

}  // namespace cacheready
