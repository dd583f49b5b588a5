// SPDX-License-Identifier: Apache-2.0
#include "io/mapped_file.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "io/descriptor.h"
#include "io/mapping_faults.h"

namespace cacheready {
namespace {

std::size_t RegularFileSize(int descriptor, const std::filesystem::path& path) {
  struct stat status {};
  if (fstat(descriptor, &status) != 0) {
    Fail("{}: cannot be examined: {}", path.string(), std::strerror(errno));
  }
  if (!S_ISREG(status.st_mode)) Fail("{}: is not a regular file", path.string());
  return static_cast<std::size_t>(status.st_size);
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  Descriptor descriptor = OpenForReading(path);
  const std::size_t size = RegularFileSize(descriptor.get(), path);
  if (size == 0) return;  // mmap refuses a length of 0
  void* address = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor.get(), 0);
  if (address == MAP_FAILED) {
    Fail("{}: {} bytes cannot be mapped: {}", path.string(), size, std::strerror(errno));
  }
  data_ = static_cast<const std::byte*>(address);
  size_ = size;
  descriptor_ = descriptor.Release();
  noted_ = NoteMapping(data_, size_, path_);
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  ForgetMapping(noted_);
  munmap(const_cast<std::byte*>(data_), size_);
  close(descriptor_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      noted_(std::exchange(other.noted_, -1)) {}

std::string ReadTextFile(const std::filesystem::path& path, std::uint64_t limit_bytes) {
  const Descriptor descriptor = OpenForReading(path);
  const std::size_t size = RegularFileSize(descriptor.get(), path);
  if (size > limit_bytes) {
    Fail("{}: has {} bytes, expected at most {}", path.string(), size, limit_bytes);
  }
  std::string text(size, '\0');
  std::size_t filled = 0;
  while (filled < size) {
    const ssize_t got = read(descriptor.get(), text.data() + filled, size - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) Fail("{}: cannot be read: {}", path.string(), std::strerror(errno));
    if (got == 0) Fail("{}: became shorter while it was read", path.string());
    filled += static_cast<std::size_t>(got);
  }
  return text;
}

}  // namespace cacheready
