// A file mapped read-only.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace cacheready {

class MappedFile {
 public:
  // Follows symlinks. Fails if the file is absent, not regular or unreadable. An empty file maps to
  // an empty span.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }  // Valid while this lives
  const std::filesystem::path& path() const { return path_; }
  // Open for reading while this lives; -1 if the file is empty.
  int descriptor() const { return descriptor_; }

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  int descriptor_ = -1;
  int noted_ = -1;  // by io/mapping_faults.h
};

// Whole file as text; Fails if larger than `limit_bytes`.
std::string ReadTextFile(const std::filesystem::path& path,
                         std::uint64_t limit_bytes = std::uint64_t{1} << 30);

}  // namespace cacheready
