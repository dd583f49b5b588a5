// SPDX-License-Identifier: Apache-2.0
#include "verify/compare_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/console.h"
#include "base/error.h"
#include "base/hash.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBlockBytes = std::size_t{4} << 20;

class InputFile {
 public:
  explicit InputFile(const fs::path& path) : path_(path) {
    descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor_ < 0) Stop("cannot be opened");
    if (fstat(descriptor_, &status_) != 0) Stop("cannot be examined");
    posix_fadvise(descriptor_, 0, 0, POSIX_FADV_SEQUENTIAL);
  }
  ~InputFile() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  std::uint64_t size() const { return static_cast<std::uint64_t>(status_.st_size); }
  bool IsSameAs(const InputFile& other) const {
    return status_.st_ino == other.status_.st_ino && status_.st_dev == other.status_.st_dev;
  }

  // As many bytes as there are from `offset_bytes` on, at most block.size().
  std::span<const std::byte> Read(std::uint64_t offset_bytes, std::span<std::byte> block) const {
    std::size_t filled = 0;
    while (filled < block.size()) {
      const ssize_t got = pread(descriptor_, block.data() + filled, block.size() - filled,
                                static_cast<off_t>(offset_bytes + filled));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) Stop("cannot be read");
      if (got == 0) break;
      filled += static_cast<std::size_t>(got);
    }
    return block.first(filled);
  }

 private:
  [[noreturn]] void Stop(const char* what) const {
    Fail("{}: {}: {}", path_.string(), what, std::strerror(errno));
  }

  fs::path path_;
  int descriptor_ = -1;
  struct stat status_ {};
};

// Hashes one file to its end.
std::string HashFile(const InputFile& file, std::span<std::byte> block) {
  Sha256 sha;
  for (std::uint64_t at = 0; at < file.size();) {
    ThrowIfInterrupted();
    const std::span<const std::byte> part = file.Read(at, block);
    if (part.empty()) break;
    sha.Add(part);
    at += part.size();
  }
  return Hex(sha.Finish());
}

// Sorts differing bytes into allowed ranges and parts. Offsets come in ascending order.
class DifferenceSorter {
 public:
  DifferenceSorter(std::span<const FilePart> parts, std::span<const ByteRange> allowed,
                   FileComparison& result)
      : parts_(parts), allowed_(allowed), result_(result) {
    result_.range_changed.assign(allowed.size(), false);
  }

  void Add(std::uint64_t offset, std::byte expected, std::byte found) {
    ++result_.changed_bytes;
    while (range_ < allowed_.size() && allowed_[range_].end <= offset) ++range_;
    if (range_ < allowed_.size() && allowed_[range_].begin <= offset) {
      result_.range_changed[range_] = true;
      return;
    }
    while (part_ + 1 < parts_.size() && parts_[part_].end <= offset) ++part_;
    if (result_.differences.empty() || result_.differences.back().part != part_) {
      result_.differences.push_back({part_, offset, 0, expected, found});
    }
    ++result_.differences.back().bytes;
  }

 private:
  std::span<const FilePart> parts_;
  std::span<const ByteRange> allowed_;
  FileComparison& result_;
  std::size_t range_ = 0;
  std::size_t part_ = 0;
};

void AddBlock(std::uint64_t block_begin, std::span<const std::byte> source,
              std::span<const std::byte> out, DifferenceSorter& sorter) {
  const std::size_t common = std::min(source.size(), out.size());
  if (std::memcmp(source.data(), out.data(), common) == 0) return;
  for (std::size_t i = 0; i < common; ++i) {
    if (source[i] != out[i]) sorter.Add(block_begin + i, source[i], out[i]);
  }
}

}  // namespace

FileComparison CompareFiles(const fs::path& source_path, const fs::path& out_path,
                            std::span<const FilePart> parts, std::span<const ByteRange> allowed,
                            bool hash) {
  const InputFile source(source_path);
  const InputFile out(out_path);
  FileComparison result;
  result.source_bytes = source.size();
  result.out_bytes = out.size();
  result.same_inode = source.IsSameAs(out);
  DifferenceSorter sorter(parts, allowed, result);
  const std::size_t block_bytes = static_cast<std::size_t>(
      std::clamp<std::uint64_t>(std::max(source.size(), out.size()), 1, kBlockBytes));
  std::vector<std::byte> source_block(block_bytes);
  if (result.same_inode) {
    result.compared_bytes = source.size();
    if (hash) result.sha256_source = result.sha256_out = HashFile(source, source_block);
    return result;
  }
  std::vector<std::byte> out_block(block_bytes);
  Sha256 source_sha, out_sha;
  for (std::uint64_t at = 0; at < source.size();) {
    ThrowIfInterrupted();
    const std::span<const std::byte> source_part = source.Read(at, source_block);
    const std::span<const std::byte> out_part = out.Read(at, out_block);
    const std::uint64_t out_left = out.size() - std::min(at, out.size());
    if (source_part.empty() ||
        out_part.size() < std::min<std::uint64_t>(out_left, source_part.size())) {
      Fail("{}: became shorter while it was read",
           (source_part.empty() ? source_path : out_path).string());
    }
    AddBlock(at, source_part, out_part, sorter);
    if (hash) source_sha.Add(source_part);
    if (hash && !allowed.empty()) out_sha.Add(out_part);
    result.compared_bytes += std::min(source_part.size(), out_part.size());
    at += source_part.size();
  }
  if (!hash) return result;
  result.sha256_source = Hex(source_sha.Finish());
  const bool equal = result.changed_bytes == 0 && source.size() == out.size();
  if (equal) {
    result.sha256_out = result.sha256_source;
  } else if (!allowed.empty() && out.size() <= source.size()) {
    result.sha256_out = Hex(out_sha.Finish());
  } else {
    result.sha256_out = HashFile(out, out_block);
  }
  return result;
}

std::vector<std::byte> ReadRange(const fs::path& path, ByteRange range) {
  const InputFile file(path);
  std::vector<std::byte> bytes(range.end - range.begin);
  bytes.resize(file.Read(range.begin, bytes).size());
  return bytes;
}

}  // namespace cacheready
