// One pass over a file from its begin to its end, at the speed of the disk: blocks are read ahead
// while the caller uses the one before.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "io/descriptor.h"
#include "io/page_area.h"
#include "io/read_way.h"

namespace cacheready {

inline constexpr std::size_t kBlockBytes = std::size_t{4} << 20;
inline constexpr std::size_t kBlocksOfReader = 3;  // one in use, two read ahead
inline constexpr std::size_t kReaderBytes = kBlocksOfReader * kBlockBytes;  // of memory, at most

// As many bytes as there are from `offset_bytes` on, at most block.size(). Fails naming the file.
std::span<std::byte> ReadAt(int descriptor, const std::filesystem::path& path,
                            std::uint64_t offset_bytes, std::span<std::byte> block);

class BlockReader {
 public:
  // Of the file open as `descriptor`, which stays open while this lives; `path` is for messages.
  // Fails as ReadWay does.
  BlockReader(int descriptor, const std::filesystem::path& path, ReadMode mode);
  ~BlockReader();
  BlockReader(const BlockReader&) = delete;
  BlockReader& operator=(const BlockReader&) = delete;

  std::uint64_t size() const { return file_.size; }  // when it was opened

  // The next kBlockBytes, fewer at the end of the file, none after it; at a multiple of
  // kReadAlignment, the caller's to change until the next call. Fails, naming file and offset, if
  // they cannot be read or the file has become shorter.
  std::span<std::byte> Next();

 private:
  struct Block {
    std::optional<PageArea> memory;
    std::span<std::byte> bytes;
    std::exception_ptr error;
  };
  std::uint64_t num_blocks() const { return (file_.size + kBlockBytes - 1) / kBlockBytes; }
  void MakeBlocks();
  Block& BlockOf(std::uint64_t number) { return blocks_.at(number % kBlocksOfReader); }
  void ReadBlock(std::uint64_t number);
  void ReadAhead();

  std::filesystem::path path_;
  int descriptor_;
  ReadWay way_;
  int opened_;
  std::optional<Descriptor> closes_opened_;  // if it is one of its own: O_DIRECT
  FileBytes file_;
  std::vector<ReadPiece> pieces_;
  std::array<Block, kBlocksOfReader> blocks_;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;  // of the two numbers
  std::condition_variable changed_;
  std::uint64_t read_ = 0;   // blocks before this one are read
  std::uint64_t taken_ = 0;  // blocks before this one were handed out; the last is in use
  std::jthread thread_;      // only if there is more than one block; joined before the rest goes
};

}  // namespace cacheready
