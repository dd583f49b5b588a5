// SPDX-License-Identifier: Apache-2.0
#include "writer/make_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/console.h"
#include "base/error.h"
#include "io/block_reader.h"
#include "writer/output_file.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

class Xxh3Stream {
 public:
  Xxh3Stream() : state_(XXH3_createState(), XXH3_freeState) {
    CR_CHECK(state_ != nullptr && XXH3_64bits_reset(state_.get()) == XXH_OK, "no XXH3 state");
  }
  void Add(std::span<const std::byte> bytes) {
    XXH3_64bits_update(state_.get(), bytes.data(), bytes.size());
  }
  std::uint64_t Finish() const { return XXH3_64bits_digest(state_.get()); }

 private:
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_;
};

// The part of each row that falls into the block at `block_begin`.
void LayRowsIn(std::span<const RowRange> rows, std::uint64_t block_begin,
               std::span<std::byte> block) {
  const std::uint64_t block_end = block_begin + block.size();
  for (const RowRange& row : rows) {
    const std::uint64_t begin = std::max(row.offset_bytes, block_begin);
    const std::uint64_t end = std::min(row.offset_bytes + row.bytes.size(), block_end);
    if (begin >= end) continue;
    std::memcpy(block.data() + (begin - block_begin), row.bytes.data() + (begin - row.offset_bytes),
                end - begin);
  }
}

void CheckUnchanged(int source, const FileTask& task) {
  struct stat status {};
  if (fstat(source, &status) != 0) {
    Fail("{}: cannot be examined: {}", task.source.string(), std::strerror(errno));
  }
  const std::int64_t modified_ns =
      status.st_mtim.tv_sec * std::int64_t{1'000'000'000} + status.st_mtim.tv_nsec;
  if (static_cast<std::uint64_t>(status.st_size) != task.bytes || modified_ns != task.modified_ns) {
    Fail(
        "{}: changed while it was copied (expected {} bytes, found {}); run again when it is at "
        "rest",
        task.source.string(), task.bytes, status.st_size);
  }
}

// The next block is read while this one is hashed and written. The rows are in the block before it
// is written: no byte of an old row reaches the file.
std::uint64_t CopyBytes(BlockReader& source, const FileTask& task, OutputFile& output,
                        const std::function<void(std::uint64_t)>& on_bytes) {
  Xxh3Stream hash;
  std::uint64_t at = 0;
  for (auto block = source.Next(); !block.empty(); block = source.Next()) {
    ThrowIfInterrupted();
    LayRowsIn(task.rows, at, block);
    hash.Add(block);
    output.WriteAt(at, block);
    at += block.size();
    on_bytes(block.size());
  }
  return hash.Finish();
}

bool TryHardLink(const FileTask& task, const fs::path& target) {
  if (linkat(AT_FDCWD, task.source.c_str(), AT_FDCWD, target.c_str(), AT_SYMLINK_FOLLOW) == 0) {
    return true;
  }
  if (!MeansUnsupported(errno)) {
    Fail("{}: cannot be made as a hard link: {}", target.string(), std::strerror(errno));
  }
  return false;
}

MadeFile MakeNewFile(const FileTask& task, const fs::path& target) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(task.contents));
  OutputFile output(target);
  output.WriteAt(0, bytes);
  output.Finish();
  Xxh3Stream hash;
  hash.Add(bytes);
  return {"new", hash.Finish()};
}

}  // namespace

MadeFile MakeFile(const FileTask& task, const fs::path& target, const WriteOptions& options,
                  const std::function<void(std::uint64_t)>& on_bytes) {
  if (task.is_new()) return MakeNewFile(task, target);
  const bool patched = !task.rows.empty();
  const Descriptor source = OpenForReading(task.source);
  CheckUnchanged(source.get(), task);
  // A patched shard never shares an inode with the source.
  if (options.link == LinkMode::kHardlink && !patched && TryHardLink(task, target))
    return {"hard link", {}};

  OutputFile output(target);
  MadeFile made;
  if (options.link != LinkMode::kCopy && output.TryCloneFrom(source.get())) {
    for (const RowRange& row : task.rows) output.WriteAt(row.offset_bytes, row.bytes);
    made.method = patched ? "patched reflink" : "reflink";
  } else {
    output.Reserve(task.bytes);
    output.WritePastCache(options.io);
    BlockReader reader(source.get(), task.source, options.io);
    made.xxh3 = CopyBytes(reader, task, output, on_bytes);
    made.method = patched ? "patched copy" : "copy";
  }
  CheckUnchanged(source.get(), task);
  output.Finish();
  return made;
}

std::uint64_t FileXxh3(const fs::path& path, ReadMode io) {
  const Descriptor file = OpenForReading(path);
  BlockReader reader(file.get(), path, io);
  Xxh3Stream hash;
  for (auto block = reader.Next(); !block.empty(); block = reader.Next()) hash.Add(block);
  return hash.Finish();
}

}  // namespace cacheready
