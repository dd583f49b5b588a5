// SPDX-License-Identifier: Apache-2.0
#include "io/image_reader.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <map>
#include <utility>

#include "base/error.h"

namespace cacheready {
namespace {

constexpr std::uint64_t kPage = kReadAlignment;
// Ranges nearer than this are read as one: cheaper than a read of its own, and than a mapping.
constexpr std::uint64_t kGap = std::uint64_t{64} << 10;
// Given to the kernel ahead of the touch where pages of the mapping are read.
constexpr std::uint64_t kWindow = std::uint64_t{8} << 20;

std::uint64_t RoundUp(std::uint64_t bytes, std::uint64_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

std::byte* AddressOf(const ImageRange& range) {
  return const_cast<std::byte*>(range.file->bytes().data()) + range.begin;
}

std::size_t LengthOf(const ImageRange& range) {
  return static_cast<std::size_t>(range.end - range.begin);
}

bool Stopped(const std::atomic<bool>* stop) { return stop != nullptr && stop->load(); }

// What of a range is read into one area.
struct PlacedArea {
  ImageRange range;
  PageArea area;
};

// Descriptors for the reads of one Load, by file.
class ReadDescriptors {
 public:
  ~ReadDescriptors() {
    for (const auto& [file, descriptor] : opened_) {
      if (descriptor != file->descriptor()) close(descriptor);
    }
  }
  template <typename Open>
  int Of(const MappedFile& file, Open open) {
    const auto [at, is_new] = opened_.try_emplace(&file, -1);
    if (is_new) at->second = open(file);
    return at->second;
  }

 private:
  std::map<const MappedFile*, int> opened_;
};

// Whether bytes of the range are in the page cache, asked without reading any.
bool IsRangeCached(const ImageRange& range) {
  const std::uint64_t end = std::min<std::uint64_t>(range.end, range.file->bytes().size());
  return IsCached(range.file->descriptor(), range.begin, end);
}

// Touches every page in the kernel, which answers with an error where a touch would be a SIGBUS.
void Populate(const ImageRange& range, std::uint64_t begin, std::uint64_t end) {
  std::byte* address = const_cast<std::byte*>(range.file->bytes().data()) + begin;
  const auto size = static_cast<std::size_t>(end - begin);
  while (madvise(address, size, MADV_POPULATE_READ) != 0) {
    if (errno == EINTR || errno == EAGAIN) continue;
    if (errno == EINVAL) return;  // before Linux 5.14: the pages are read when they are touched
    Fail("{}: {} bytes at offset {} shrank or could not be read while in use: {}",
         range.file->path().string(), size, begin, std::strerror(errno));
  }
}

}  // namespace

std::vector<ImageRange> MergeRanges(std::vector<ImageRange> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const ImageRange& a, const ImageRange& b) {
    return std::pair(a.file, a.begin) < std::pair(b.file, b.begin);
  });
  std::vector<ImageRange> merged;
  for (const ImageRange& range : ranges) {
    if (range.begin == range.end) continue;
    const std::uint64_t begin = range.begin / kPage * kPage, end = RoundUp(range.end, kPage);
    if (!merged.empty() && merged.back().file == range.file && begin <= merged.back().end + kGap) {
      merged.back().end = std::max(merged.back().end, end);
    } else {
      merged.push_back({range.file, begin, end});
    }
  }
  return merged;
}

std::uint64_t BytesOf(std::span<const ImageRange> merged) {
  std::uint64_t bytes = 0;
  for (const ImageRange& range : merged) bytes += range.end - range.begin;
  return bytes;
}

void ImageReader::Load(std::span<const ImageRange> merged, const std::atomic<bool>* stop) {
  if (way_of_reads_.mode() == ReadMode::kMapped) return LoadMapped(merged, stop);
  if (way_of_reads_.mode() != ReadMode::kAuto) return LoadByReads(merged, stop);
  std::vector<ImageRange> cached, others;
  for (const ImageRange& range : merged) (IsRangeCached(range) ? cached : others).push_back(range);
  LoadMapped(cached, stop);
  LoadByReads(others, stop);
}

void ImageReader::Drop(std::span<const ImageRange> merged) {
  for (const ImageRange& range : merged) {
    TakePlaced(range);  // no longer to be reclaimed
    const void* mapped = mmap(AddressOf(range), LengthOf(range), PROT_READ, MAP_PRIVATE | MAP_FIXED,
                              range.file->descriptor(), static_cast<off_t>(range.begin));
    if (mapped == MAP_FAILED) {
      Fail("{}: {} bytes at offset {} cannot be mapped: {}", range.file->path().string(),
           LengthOf(range), range.begin, std::strerror(errno));
    }
  }
}

void ImageReader::ExpectFewTouches(std::span<const ImageRange> merged) {
  for (const ImageRange& range : merged) madvise(AddressOf(range), LengthOf(range), MADV_RANDOM);
}

void ImageReader::LoadMapped(std::span<const ImageRange> merged, const std::atomic<bool>* stop) {
  if (merged.empty()) return;
  way_ = "mapped pages";
  for (const ImageRange& range : merged) {
    for (std::uint64_t at = range.begin; at < range.end && !Stopped(stop); at += kWindow) {
      const std::uint64_t end = std::min(range.end, at + kWindow);
      const std::uint64_t ahead = std::min(range.end, end + kWindow);
      madvise(AddressOf(range) + (at - range.begin), static_cast<std::size_t>(ahead - at),
              MADV_WILLNEED);
      Populate(range, at, end);
      bytes_read_ += end - at;
    }
  }
}

void ImageReader::LoadByReads(std::span<const ImageRange> merged, const std::atomic<bool>* stop) {
  if (merged.empty()) return;
  ReadDescriptors descriptors;
  std::vector<PlacedArea> areas;
  std::vector<ReadPiece> pieces;
  for (const ImageRange& range : merged) {
    const int descriptor = descriptors.Of(*range.file, [this](const MappedFile& file) {
      return way_of_reads_.Open(file.descriptor(), file.path());
    });
    const FileBytes file{descriptor, descriptor != range.file->descriptor(), &range.file->path(),
                         range.file->bytes().size()};
    for (ImageRange rest = range; rest.begin < rest.end; rest.begin = areas.back().range.end) {
      PageArea area = spare_.Take(LengthOf(rest), AddressOf(rest));
      areas.push_back({{rest.file, rest.begin, rest.begin + area.size()}, std::move(area)});
      AddPieces(file, areas.back().range.begin, areas.back().range.end, areas.back().area.address(),
                pieces);
    }
  }
  way_ = way_of_reads_.name();
  way_of_reads_.engine().Read(pieces, stop);
  if (Stopped(stop)) return;
  for (PlacedArea& placed : areas) {
    if (!placed.area.MoveTo(AddressOf(placed.range))) {
      Fail("{}: {} bytes read at offset {} cannot be put in place: {} (vm.max_map_count?)",
           placed.range.file->path().string(), LengthOf(placed.range), placed.range.begin,
           std::strerror(errno));
    }
    const std::lock_guard lock(placed_mutex_);
    placed_.push_back(placed.range);
  }
  bytes_read_ += BytesOf(merged);
}

void ImageReader::Reclaim(std::span<const ImageRange> merged) {
  for (const ImageRange& range : merged) {
    for (const ImageRange& placed : TakePlaced(range)) {
      std::vector<PageArea> areas;
      if (!PageArea::TakeBack(AddressOf(placed), LengthOf(placed), areas)) continue;
      spare_.Keep(std::move(areas.back()));
    }
  }
  Drop(merged);
}

// Forgets the areas that lie in the range, and tells them.
std::vector<ImageRange> ImageReader::TakePlaced(const ImageRange& range) {
  const std::lock_guard lock(placed_mutex_);
  const auto is_within = [&](const ImageRange& placed) {
    return placed.file == range.file && placed.begin >= range.begin && placed.end <= range.end;
  };
  std::vector<ImageRange> taken;
  std::copy_if(placed_.begin(), placed_.end(), std::back_inserter(taken), is_within);
  std::erase_if(placed_, is_within);
  return taken;
}

}  // namespace cacheready
