// SPDX-License-Identifier: Apache-2.0
#include "io/image_reader.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <map>
#include <utility>

#include "base/console.h"
#include "base/error.h"

namespace cacheready {
namespace {

constexpr std::uint64_t kPage = kReadAlignment;
// Ranges nearer than this are read as one: cheaper than a read of its own, and than a mapping.
constexpr std::uint64_t kGap = std::uint64_t{64} << 10;
// Given to the kernel ahead of the touch where pages of the mapping are read.
constexpr std::uint64_t kWindow = std::uint64_t{8} << 20;
constexpr int kProbes = 64;  // places of a range that must all be in the page cache

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

void AddPieces(const ImageRange& range, int descriptor, std::byte* to,
               std::vector<ReadPiece>& pieces) {
  const std::uint64_t size = range.file->bytes().size();
  for (std::uint64_t at = range.begin; at < range.end; at += kReadBytes) {
    const std::uint64_t length = std::min<std::uint64_t>(kReadBytes, range.end - at);
    pieces.push_back({descriptor, at, static_cast<std::size_t>(length),
                      static_cast<std::size_t>(std::min(length, size - at)),
                      to + (at - range.begin), &range.file->path()});
  }
}

// Whether bytes of the range are in the page cache, asked without reading any.
bool IsCached(const ImageRange& range) {
  const std::uint64_t end = std::min<std::uint64_t>(range.end, range.file->bytes().size());
  for (int n = 0; n < kProbes; ++n) {
    const std::uint64_t at =
        range.begin + (end - 1 - range.begin) / (kProbes - 1) * static_cast<std::uint64_t>(n);
    std::byte byte;
    const iovec part{&byte, 1};
    if (preadv2(range.file->descriptor(), &part, 1, static_cast<off_t>(at), RWF_NOWAIT) != 1) {
      return false;
    }
  }
  return true;
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

ReadMode ParseReadMode(std::string_view name) {
  const auto found = std::find(kReadModeNames.begin(), kReadModeNames.end(), name);
  if (found == kReadModeNames.end()) {
    Fail("there is no way of reading called '{}'; known: {}", name,
         fmt::join(kReadModeNames, ", "));
  }
  return static_cast<ReadMode>(found - kReadModeNames.begin());
}

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

ImageReader::ImageReader(ReadMode mode) : mode_(mode) {
  direct_ = mode != ReadMode::kBuffered;
  if (mode == ReadMode::kMapped) return;
  if (mode == ReadMode::kAuto || mode == ReadMode::kUring) {
    std::string reason;
    engine_ = MakeUringEngine(reason);
    if (engine_ != nullptr) return;
    if (mode == ReadMode::kUring) Fail("--io uring: io_uring is not available here: {}", reason);
    Detail("reading: io_uring is not available (" + reason + "): pread");
  }
  engine_ = MakePreadEngine();
}

void ImageReader::Load(std::span<const ImageRange> merged, const std::atomic<bool>* stop) {
  if (mode_ == ReadMode::kMapped) return LoadMapped(merged, stop);
  if (mode_ != ReadMode::kAuto) return LoadByReads(merged, stop);
  std::vector<ImageRange> cached, others;
  for (const ImageRange& range : merged) (IsCached(range) ? cached : others).push_back(range);
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
    const int descriptor =
        descriptors.Of(*range.file, [this](const MappedFile& file) { return OpenForReads(file); });
    for (ImageRange rest = range; rest.begin < rest.end; rest.begin = areas.back().range.end) {
      PageArea area = spare_.Take(LengthOf(rest), AddressOf(rest));
      areas.push_back({{rest.file, rest.begin, rest.begin + area.size()}, std::move(area)});
      AddPieces(areas.back().range, descriptor, areas.back().area.address(), pieces);
    }
  }
  way_ = direct_ ? engine_->name() : "pread, page cache";
  engine_->Read(pieces, stop);
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

// The same file, whatever its name means by now. Some file systems refuse O_DIRECT.
int ImageReader::OpenForReads(const MappedFile& file) {
  if (!direct_) return file.descriptor();
  const std::string link = "/proc/self/fd/" + std::to_string(file.descriptor());
  const int descriptor = open(link.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  if (descriptor >= 0) return descriptor;
  const int reason = errno;
  if (mode_ == ReadMode::kAuto && (reason == EINVAL || reason == ENOENT)) {
    Detail(fmt::format("reading: {} cannot be read past the page cache ({})", file.path().string(),
                       std::strerror(reason)));
    direct_ = false;
    engine_ = MakePreadEngine();  // io_uring is slow where it reads through the page cache
    return file.descriptor();
  }
  Fail("{}: cannot be opened for reading past the page cache (O_DIRECT): {}", file.path().string(),
       std::strerror(reason));
}

}  // namespace cacheready
