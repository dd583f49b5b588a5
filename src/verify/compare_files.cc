// SPDX-License-Identifier: Apache-2.0
#include "verify/compare_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>

#include "base/console.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/parallel.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

class InputFile {
 public:
  explicit InputFile(const fs::path& path) : path_(path), descriptor_(OpenForReading(path)) {
    if (fstat(descriptor_.get(), &status_) != 0) {
      Fail("{}: cannot be examined: {}", path_.string(), std::strerror(errno));
    }
  }

  const fs::path& path() const { return path_; }
  int descriptor() const { return descriptor_.get(); }
  std::uint64_t size() const { return static_cast<std::uint64_t>(status_.st_size); }
  bool IsSameAs(const InputFile& other) const {
    return status_.st_ino == other.status_.st_ino && status_.st_dev == other.status_.st_dev;
  }

 private:
  fs::path path_;
  Descriptor descriptor_;
  struct stat status_ {};
};

// Hashes one file to its end.
std::string HashFile(const InputFile& file, ReadMode io) {
  BlockReader reader(file.descriptor(), file.path(), io);
  Sha256 sha;
  for (auto block = reader.Next(); !block.empty(); block = reader.Next()) {
    ThrowIfInterrupted();
    sha.Add(block);
  }
  return Hex(sha.Finish());
}

// SHA-256 of blocks, each hashed while the caller does something else, if that is worth a thread.
class HashBeside {
 public:
  explicit HashBeside(std::uint64_t bytes) {
    if (bytes > kBlockBytes && NumThreads() > 1) thread_ = std::jthread([this] { Run(); });
  }
  ~HashBeside() { Hand({}, true); }
  HashBeside(const HashBeside&) = delete;
  HashBeside& operator=(const HashBeside&) = delete;

  // `bytes` may not change before Wait() returns. Requires: what was added before has been waited
  // for.
  void Add(std::span<const std::byte> bytes) {
    if (!thread_.joinable()) return sha_.Add(bytes);
    if (!bytes.empty()) Hand(bytes, false);
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return bytes_.empty(); });
  }
  std::string Finish() { return Hex(sha_.Finish()); }

 private:
  void Hand(std::span<const std::byte> bytes, bool done) {
    const std::lock_guard lock(mutex_);
    bytes_ = bytes;
    done_ = done;
    changed_.notify_all();
  }
  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return done_ || !bytes_.empty(); });
      if (done_) return;
      const std::span<const std::byte> bytes = bytes_;
      lock.unlock();
      sha_.Add(bytes);
      lock.lock();
      bytes_ = {};
      changed_.notify_all();
    }
  }

  Sha256 sha_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::span<const std::byte> bytes_;  // to be hashed
  bool done_ = false;
  std::jthread thread_;
};

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
                            bool hash, ReadMode io) {
  const InputFile source(source_path);
  const InputFile out(out_path);
  FileComparison result;
  result.source_bytes = source.size();
  result.out_bytes = out.size();
  result.same_inode = source.IsSameAs(out);
  if (result.same_inode) {
    result.compared_bytes = source.size();
    if (hash) result.sha256_source = result.sha256_out = HashFile(source, io);
    return result;
  }
  DifferenceSorter sorter(parts, allowed, result);
  BlockReader source_reader(source.descriptor(), source_path, io);
  BlockReader out_reader(out.descriptor(), out_path, io);
  Sha256 source_sha;
  std::optional<HashBeside> out_sha;
  if (hash && !allowed.empty()) out_sha.emplace(out.size());
  std::uint64_t at = 0;
  for (auto block = source_reader.Next(); !block.empty(); block = source_reader.Next()) {
    ThrowIfInterrupted();
    const std::span<const std::byte> out_block = out_reader.Next();
    if (out_sha) out_sha->Add(out_block);
    AddBlock(at, block, out_block, sorter);
    if (hash) source_sha.Add(block);
    if (out_sha) out_sha->Wait();
    result.compared_bytes += std::min(block.size(), out_block.size());
    at += block.size();
  }
  if (!hash) return result;
  result.sha256_source = Hex(source_sha.Finish());
  const bool equal = result.changed_bytes == 0 && source.size() == out.size();
  if (equal) {
    result.sha256_out = result.sha256_source;
  } else if (out_sha && out.size() <= source.size()) {
    result.sha256_out = out_sha->Finish();
  } else {
    result.sha256_out = HashFile(out, io);
  }
  return result;
}

std::vector<std::byte> ReadRange(const fs::path& path, ByteRange range) {
  const InputFile file(path);
  std::vector<std::byte> bytes(range.end - range.begin);
  bytes.resize(ReadAt(file.descriptor(), path, range.begin, bytes).size());
  return bytes;
}

}  // namespace cacheready
