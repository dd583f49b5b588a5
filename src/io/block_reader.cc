// SPDX-License-Identifier: Apache-2.0
#include "io/block_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace cacheready {
namespace {

std::uint64_t SizeOf(int descriptor, const std::filesystem::path& path) {
  struct stat status {};
  if (fstat(descriptor, &status) != 0) {
    Fail("{}: cannot be examined: {}", path.string(), std::strerror(errno));
  }
  return static_cast<std::uint64_t>(status.st_size);
}

std::size_t WholePages(std::uint64_t bytes) {
  return static_cast<std::size_t>((bytes + kReadAlignment - 1) / kReadAlignment * kReadAlignment);
}

}  // namespace

std::span<std::byte> ReadAt(int descriptor, const std::filesystem::path& path,
                            std::uint64_t offset_bytes, std::span<std::byte> block) {
  std::size_t filled = 0;
  while (filled < block.size()) {
    const ssize_t got = RetryInterrupted([&] {
      return pread(descriptor, block.data() + filled, block.size() - filled,
                   static_cast<off_t>(offset_bytes + filled));
    });
    if (got < 0) Fail("{}: cannot be read: {}", path.string(), std::strerror(errno));
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  return block.first(filled);
}

BlockReader::BlockReader(int descriptor, const std::filesystem::path& path, ReadMode mode)
    : path_(path), descriptor_(descriptor), way_(mode), opened_(way_.Open(descriptor, path_)) {
  const bool is_other = opened_ != descriptor;
  if (is_other) closes_opened_.emplace(opened_);
  file_ = {opened_, is_other, &path_, SizeOf(descriptor, path_)};
  posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL);  // only a hint
  MakeBlocks();
  if (num_blocks() > 1) thread_ = std::jthread([this] { ReadAhead(); });
}

// Pages of their own, huge where the kernel can: O_DIRECT takes each by itself, and they go when
// the reader does.
void BlockReader::MakeBlocks() {
  const std::size_t size = num_blocks() > 1 ? kBlockBytes : WholePages(file_.size);
  for (std::uint64_t n = 0; n < std::min<std::uint64_t>(num_blocks(), kBlocksOfReader); ++n) {
    blocks_.at(n).memory.emplace(size, nullptr);
  }
}

BlockReader::~BlockReader() {
  stop_ = true;
  {
    const std::lock_guard lock(mutex_);  // not between the other's look at stop_ and its wait
  }
  changed_.notify_all();
}

void BlockReader::ReadBlock(std::uint64_t number) {
  Block& block = BlockOf(number);
  const std::uint64_t begin = number * kBlockBytes;
  const std::uint64_t end = std::min(file_.size, begin + kBlockBytes);
  std::byte* to = block.memory->address();
  block.bytes = {to, static_cast<std::size_t>(end - begin)};
  try {
    pieces_.clear();
    if (way_.mode() == ReadMode::kAuto && IsCached(descriptor_, begin, end)) {
      AddPieces({descriptor_, false, &path_, file_.size}, begin, begin + WholePages(end - begin),
                to, pieces_);
      for (const ReadPiece& piece : pieces_) ReadPieceWhole(piece);
    } else {
      AddPieces(file_, begin, begin + WholePages(end - begin), to, pieces_);
      way_.engine().Read(pieces_, &stop_);
    }
  } catch (...) {
    block.error = std::current_exception();
  }
}

void BlockReader::ReadAhead() {
  for (std::uint64_t number = 0; number < num_blocks(); ++number) {
    {
      std::unique_lock lock(mutex_);
      // Of the blocks handed out only the last is in use.
      changed_.wait(lock, [&] { return stop_ || number < taken_ + kBlocksOfReader - 1; });
    }
    if (stop_) return;
    ReadBlock(number);
    const std::lock_guard lock(mutex_);
    read_ = number + 1;
    changed_.notify_all();
    if (BlockOf(number).error) return;
  }
}

std::span<std::byte> BlockReader::Next() {
  if (taken_ == num_blocks()) return {};
  if (!thread_.joinable()) {
    ReadBlock(taken_);
  } else {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return read_ > taken_; });
  }
  const Block& block = BlockOf(taken_);
  if (block.error) std::rethrow_exception(block.error);
  const std::lock_guard lock(mutex_);
  ++taken_;
  changed_.notify_all();
  return block.bytes;
}

}  // namespace cacheready
