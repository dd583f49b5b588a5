// Many reads of files at once, into memory of the caller, at the speed of the disk.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace cacheready {

// One read. With a descriptor opened O_DIRECT, offset, length and address are multiples of
// kReadAlignment.
struct ReadPiece {
  int descriptor = -1;
  std::uint64_t offset = 0;
  std::size_t length = 0;
  std::size_t expected = 0;  // bytes that must be there: less than length at the end of the file
  std::byte* to = nullptr;
  const std::filesystem::path* path = nullptr;  // for messages
  bool direct = true;  // the descriptor may be O_DIRECT: reads of a rest begin at a page
};

class ReadEngine {
 public:
  virtual ~ReadEngine() = default;
  virtual const char* name() const = 0;  // for people
  // Reads all pieces, in any order. Fails, naming file, offset, bytes expected and found, if one
  // cannot be read whole. Returns early, pieces unread, once `stop` is set; null: never.
  virtual void Read(std::span<const ReadPiece> pieces, const std::atomic<bool>* stop) = 0;
};

// io_uring, kReadsInFlight at a time. nullptr where the kernel or a sandbox does not allow it;
// `reason` says why.
std::unique_ptr<ReadEngine> MakeUringEngine(std::string& reason);
// pread() on a few threads; ReadPieceWhole on that of the caller.
std::unique_ptr<ReadEngine> MakePreadEngine();
void ReadPieceWhole(const ReadPiece& piece);

// Of offset, length and address with O_DIRECT: a page, and no less than a block of any disk.
inline constexpr std::size_t kReadAlignment = 4096;
inline constexpr std::size_t kReadBytes = std::size_t{1} << 20;  // of one piece, at most
inline constexpr unsigned kReadsInFlight = 8;

// What is known of one piece after a read of it returned `result` (bytes, or -errno) with `done`
// bytes read before: where the next read of it begins. `expected` or more: it is done. O_DIRECT
// goes on at a page. Fails as ReadEngine::Read does.
std::size_t GoOnAfter(const ReadPiece& piece, std::size_t done, std::int64_t result);

}  // namespace cacheready
