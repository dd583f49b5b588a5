// SPDX-License-Identifier: Apache-2.0
#include "io/block_reader.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/error_of.h"

namespace cacheready {
namespace {

using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

std::string Contents(std::size_t size) {
  std::string contents(size, '\0');
  for (std::size_t n = 0; n < size; ++n) contents[n] = static_cast<char>(n * 31 + n / 4096);
  return contents;
}

class BlockReaderTest : public testing::TestWithParam<const char*> {
 protected:
  BlockReaderTest() : path_(fs::path(testing::TempDir()) / fmt::format("blocks_{}", getpid())) {}
  ~BlockReaderTest() override { fs::remove(path_); }

  void SetUp() override {
    std::string reason;
    if (std::string(GetParam()) == "uring" && MakeUringEngine(reason) == nullptr) {
      GTEST_SKIP() << "io_uring is not available here";
    }
  }
  // Not in the page cache, unless it should be.
  void Write(const std::string& contents, bool cached = false) {
    std::ofstream(path_, std::ios::binary) << contents;
    descriptor_.emplace(open(path_.c_str(), O_RDWR));
    if (cached) return;
    fsync(descriptor_->get());
    posix_fadvise(descriptor_->get(), 0, 0, POSIX_FADV_DONTNEED);
  }
  void Start() { reader_.emplace(descriptor_->get(), path_, ParseReadMode(GetParam())); }
  std::string Rest() {
    std::string rest;
    for (auto block = reader_->Next(); !block.empty(); block = reader_->Next()) {
      EXPECT_LE(block.size(), kBlockBytes);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block.data()) % kReadAlignment, 0u);
      rest.append(reinterpret_cast<const char*>(block.data()), block.size());
      std::fill(block.begin(), block.end(), std::byte{0});  // the caller's to change
    }
    return rest;
  }

  fs::path path_;
  std::optional<Descriptor> descriptor_;
  std::optional<BlockReader> reader_;
};

TEST_P(BlockReaderTest, GivesTheBytesInOrder) {
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{4096}, std::size_t{5000}, kBlockBytes,
        kBlockBytes + 1, 7 * kBlockBytes + 12345}) {
    for (const bool cached : {false, true}) {
      Write(Contents(size), cached);
      Start();
      EXPECT_EQ(reader_->size(), size);
      EXPECT_TRUE(Rest() == Contents(size)) << size << (cached ? " cached" : "");
      EXPECT_TRUE(reader_->Next().empty());
    }
  }
}

TEST_P(BlockReaderTest, MayBeLeftAtAnyPlace) {
  Write(Contents(9 * kBlockBytes));
  for (int blocks = 0; blocks < 4; ++blocks) {
    Start();
    for (int n = 0; n < blocks; ++n) EXPECT_FALSE(reader_->Next().empty());
  }
}

TEST_P(BlockReaderTest, AFileThatShrinksIsAnErrorThatNamesIt) {
  for (const bool cached : {false, true}) {
    Write(Contents(8 * kBlockBytes), cached);
    Start();
    EXPECT_FALSE(reader_->Next().empty());
    fs::resize_file(path_, kBlockBytes + 1000);
    EXPECT_THAT(ErrorOf([&] { Rest(); }), AllOf(HasSubstr(path_.string()), HasSubstr("shrank")));
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, BlockReaderTest,
                         testing::Values("auto", "uring", "direct", "buffered", "mmap"));

}  // namespace
}  // namespace cacheready
