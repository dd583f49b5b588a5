// What --io means, for all who read large files: by which engine, and whether past the page cache.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "io/read_engine.h"

namespace cacheready {

enum class ReadMode {
  kAuto,      // what is in the page cache is left there; the rest by the first that works of:
  kUring,     // io_uring with O_DIRECT
  kDirect,    // pread() with O_DIRECT
  kBuffered,  // pread() through the page cache
  kMapped,    // pages of the mapping, read ahead by the kernel; without a mapping as kBuffered
};
// In the order of ReadMode.
inline constexpr std::array<std::string_view, 5> kReadModeNames = {"auto", "uring", "direct",
                                                                   "buffered", "mmap"};
// Fails, listing the names, for another.
ReadMode ParseReadMode(std::string_view name);

// Whether a mode passes by the page cache, in reading and in writing.
bool IsDirect(ReadMode mode);

class ReadWay {
 public:
  // Fails if `mode` names a way that this machine does not allow. Ways are looked for in silence
  // under kAuto only.
  explicit ReadWay(ReadMode mode);

  ReadMode mode() const { return mode_; }
  bool direct() const { return direct_; }  // O_DIRECT has not been refused by a file system yet
  ReadEngine& engine();  // made when it is first asked for, or at once if it may not be there
  const char* name() { return direct_ ? engine().name() : "pread, page cache"; }

  // The file that is open as `descriptor`, whatever its name means by now, opened for reads by this
  // way: O_DIRECT, or `descriptor` itself. Fails if O_DIRECT is refused and was asked for by name.
  int Open(int descriptor, const std::filesystem::path& path);

 private:
  ReadMode mode_;
  bool direct_;
  std::unique_ptr<ReadEngine> engine_;
};

// Adds the reads of bytes [begin, end), whole pages, of a file of `size` bytes.
struct FileBytes {
  int descriptor = -1;
  bool direct = false;
  const std::filesystem::path* path = nullptr;  // for messages
  std::uint64_t size = 0;
};
void AddPieces(const FileBytes& file, std::uint64_t begin, std::uint64_t end, std::byte* to,
               std::vector<ReadPiece>& pieces);

// Whether bytes [begin, end) of an open file are in the page cache, judged by some of them, asked
// without reading any. Requires: begin < end, both within the file.
bool IsCached(int descriptor, std::uint64_t begin, std::uint64_t end);

}  // namespace cacheready
