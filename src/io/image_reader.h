// Ranges of mapped files brought into memory and out of it again.
//
// A mapping is the image of its file: whatever is done here, a span into it shows the file's bytes.
// Loading reads a range into fresh pages, past the page cache, and then moves them into the mapping
// in one step, so that the range is in memory and a touch costs no read. Dropping maps the file
// back over them. A touch of what is not loaded is right too, only slow: the kernel reads the page.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "io/mapped_file.h"
#include "io/page_area.h"
#include "io/read_way.h"

namespace cacheready {

// Bytes [begin, end) of a mapped file.
struct ImageRange {
  const MappedFile* file = nullptr;
  std::uint64_t begin = 0, end = 0;
};

// As they are loaded: whole pages, in the order of the files, ranges near each other as one.
std::vector<ImageRange> MergeRanges(std::vector<ImageRange> ranges);
std::uint64_t BytesOf(std::span<const ImageRange> merged);

class ImageReader {
 public:
  // Fails as ReadWay does.
  explicit ImageReader(ReadMode mode) : way_of_reads_(mode) {
    if (mode != ReadMode::kMapped) way_of_reads_.engine();  // whatever it lacks is told at once
  }

  // Loads merged ranges. Fails, naming file, offset, bytes expected and found, if one cannot be
  // read. Returns early, nothing loaded, once `stop` is set. Used by one thread at a time.
  void Load(std::span<const ImageRange> merged, const std::atomic<bool>* stop = nullptr);
  // Gives their pages back. Thread-safe, also beside Load.
  void Drop(std::span<const ImageRange> merged);
  // The same, but keeps the pages for the next Load, which then need not be made. While it runs
  // nobody may read from the ranges; it may run beside Load.
  void Reclaim(std::span<const ImageRange> merged);
  void FreeSpare() { spare_.Clear(); }
  std::size_t spare_bytes() const { return spare_.bytes(); }

  // Tells the kernel to read no more than the page that is touched, until the range is dropped.
  static void ExpectFewTouches(std::span<const ImageRange> merged);

  // How the last range was loaded, for people: "io_uring, O_DIRECT".
  const char* way() const { return way_.load(); }
  std::uint64_t bytes_read() const { return bytes_read_.load(); }  // from disk, by Load; any thread

 private:
  void LoadMapped(std::span<const ImageRange> merged, const std::atomic<bool>* stop);
  void LoadByReads(std::span<const ImageRange> merged, const std::atomic<bool>* stop);
  std::vector<ImageRange> TakePlaced(const ImageRange& range);

  ReadWay way_of_reads_;
  std::atomic<const char*> way_ = "not at all";
  std::atomic<std::uint64_t> bytes_read_ = 0;
  SparePages spare_;
  std::mutex placed_mutex_;
  std::vector<ImageRange> placed_;  // read into memory of their own and not reclaimed
};

}  // namespace cacheready
