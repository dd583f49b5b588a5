// Two files byte by byte, with the ranges in which they may differ.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "io/block_reader.h"

namespace cacheready {

// Part of a file that is looked at on its own: a tensor, or the header in front of them.
struct FilePart {
  std::uint64_t begin = 0, end = 0;
  std::string tensor;  // "" for what is no tensor
};

struct ByteRange {
  std::uint64_t begin = 0, end = 0;
};

// What differs in one part outside the allowed ranges.
struct Difference {
  std::size_t part = 0;
  std::uint64_t first_offset = 0;
  std::uint64_t bytes = 0;
  std::byte expected{}, found{};  // at first_offset
};

struct FileComparison {
  std::uint64_t source_bytes = 0, out_bytes = 0;
  std::uint64_t compared_bytes = 0, changed_bytes = 0;  // allowed changes included
  bool same_inode = false;
  std::vector<Difference> differences;    // ascending, at most one a part
  std::vector<bool> range_changed;        // for each allowed range: whether any byte differs
  std::string sha256_source, sha256_out;  // "" without hashing
};

// Reads each file once (an OUT that turns out to be changed where nothing allows it, twice if it is
// hashed), ahead of what compares and hashes; two hashes of one file run side by side. `parts`
// cover the source without holes, ascending; `allowed` is ascending and disjoint. The bytes past
// the end of the shorter file are not counted as differences. Fails on a read error.
FileComparison CompareFiles(const std::filesystem::path& source, const std::filesystem::path& out,
                            std::span<const FilePart> parts, std::span<const ByteRange> allowed,
                            bool hash, ReadMode io);
inline constexpr std::size_t kComparisonBytes = 2 * kReaderBytes;  // of memory, at most

// Bytes [begin, end) of a file; shorter where the file ends.
std::vector<std::byte> ReadRange(const std::filesystem::path& path, ByteRange range);

}  // namespace cacheready
