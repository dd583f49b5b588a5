// SPDX-License-Identifier: Apache-2.0
#include "io/image_reader.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <thread>

#include "base/error.h"

namespace cacheready {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr std::size_t kSize = (std::size_t{5} << 20) + 123;

std::string Contents() {
  std::string contents(kSize, '\0');
  for (std::size_t n = 0; n < kSize; ++n) contents[n] = static_cast<char>(n * 31 + n / 4096);
  return contents;
}

class ImageReaderTest : public testing::TestWithParam<const char*> {
 protected:
  ImageReaderTest() : contents_(Contents()) {
    path_ = fs::path(testing::TempDir()) / fmt::format("image_{}_{}", GetParam(), getpid());
    std::ofstream(path_, std::ios::binary) << contents_;
  }
  ~ImageReaderTest() override { fs::remove(path_); }

  void SetUp() override {
    try {
      reader_.emplace(ParseReadMode(GetParam()));
    } catch (const Error&) {
      GTEST_SKIP() << "io_uring is not available here";
    }
  }

  static std::string Text(const MappedFile& file) {
    return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
  }
  static std::size_t ResidentPages(const MappedFile& file) {
    std::ifstream maps("/proc/self/smaps");
    const auto begin = reinterpret_cast<std::uintptr_t>(file.bytes().data());
    std::string line;
    std::size_t kilobytes = 0;
    bool inside = false;
    while (std::getline(maps, line)) {
      std::uintptr_t from = 0, to = 0;
      if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) {
        inside = from >= begin && from < begin + file.bytes().size();
      } else if (inside && line.starts_with("Rss:")) {
        kilobytes += std::stoul(line.substr(4));
      }
    }
    return kilobytes / 4;
  }

  fs::path path_;
  std::string contents_;
  std::optional<ImageReader> reader_;
};

TEST_P(ImageReaderTest, ShowsTheFileBeforeWhileAndAfterARangeIsLoaded) {
  const MappedFile file(path_);
  const auto merged = MergeRanges({{&file, 1000, 3'000'000}, {&file, kSize - 10, kSize}});
  EXPECT_EQ(ResidentPages(file), 0u);
  reader_->Load(merged);
  EXPECT_GE(ResidentPages(file), 3'000'000u / 4096);
  EXPECT_EQ(reader_->bytes_read(), BytesOf(merged));
  EXPECT_EQ(Text(file), contents_);
  reader_->Drop(MergeRanges({{&file, 0, kSize}}));
  EXPECT_EQ(ResidentPages(file), 0u);
  EXPECT_EQ(Text(file), contents_);
}

// To a thread sanitizer a new mapping is a write, which it is not to whom it shows the same bytes.
[[gnu::noinline, gnu::no_sanitize_thread]] bool Shows(const volatile std::byte* at,
                                                      std::byte expected) {
  return *at == expected;
}

// Layers share a page where one ends and the next begins: it is used while it is loaded once more.
TEST_P(ImageReaderTest, AReaderOfASharedPageNeverSeesAnythingElse) {
  const MappedFile file(path_);
  const auto left = MergeRanges({{&file, 0, 9000}});
  const auto right = MergeRanges({{&file, 9000, 20000}});
  std::atomic<bool> done = false;
  std::size_t wrong = 0;
  const volatile std::byte* at = file.bytes().data() + 8999;
  const auto expected = static_cast<std::byte>(contents_[8999]);
  {
    const std::jthread user([&] {
      while (!done) wrong += Shows(at, expected) ? 0 : 1;
    });
    for (int round = 0; round < 200; ++round) {
      reader_->Load(left);
      reader_->Load(right);
      reader_->Drop(left);
      reader_->Drop(right);
    }
    done = true;
  }
  EXPECT_EQ(wrong, 0u);
}

TEST_P(ImageReaderTest, TheNextLoadUsesThePagesThatWereReclaimed) {
  const MappedFile file(path_);
  const auto first = MergeRanges({{&file, 5000, 3'000'000}});
  const auto second = MergeRanges({{&file, 2'500'000, 2'600'000}, {&file, 2'900'000, kSize}});
  reader_->Load(first);
  reader_->Reclaim(first);
  EXPECT_EQ(ResidentPages(file), 0u);
  const bool by_reads = reader_->spare_bytes() > 0;
  if (by_reads) {
    EXPECT_EQ(reader_->spare_bytes(), BytesOf(first));
  }
  EXPECT_EQ(by_reads, GetParam() != std::string("mmap") && GetParam() != std::string("auto"));
  EXPECT_EQ(Text(file), contents_);
  reader_->Load(second);
  EXPECT_EQ(Text(file), contents_);
  if (by_reads) {
    EXPECT_EQ(reader_->spare_bytes(), 0u);
  }
  // Placed over an edge of what is reclaimed later: that part is dropped in its place.
  reader_->Load(first);
  reader_->Reclaim(first);
  reader_->Reclaim(second);
  EXPECT_EQ(Text(file), contents_);
  reader_->FreeSpare();
  EXPECT_EQ(reader_->spare_bytes(), 0u);
}

TEST_P(ImageReaderTest, AShrunkenFileIsAnErrorThatNamesIt) {
  const MappedFile file(path_);
  const int descriptor = open(path_.c_str(), O_WRONLY);
  fs::resize_file(path_, 1 << 20);
  std::string message = "no error";
  try {
    reader_->Load(MergeRanges({{&file, 0, kSize}}));
  } catch (const Error& error) {
    message = error.what();
  }
  close(descriptor);
  EXPECT_THAT(message, AllOf(HasSubstr(path_.string()), HasSubstr("offset"), HasSubstr("shrank"),
                             HasSubstr("while in use")));
}

TEST_P(ImageReaderTest, LoadsNothingOnceItIsToldToStop) {
  const MappedFile file(path_);
  const std::atomic<bool> stop = true;
  reader_->Load(MergeRanges({{&file, 0, kSize}}), &stop);
  EXPECT_EQ(reader_->bytes_read(), 0u);
  EXPECT_EQ(Text(file), contents_);
}

INSTANTIATE_TEST_SUITE_P(Ways, ImageReaderTest,
                         testing::Values("auto", "uring", "direct", "buffered", "mmap"));

TEST(MergeRanges, JoinsWholePagesThatAreNear) {
  const fs::path path = fs::path(testing::TempDir()) / "merge";
  std::ofstream(path, std::ios::binary) << "a";
  const MappedFile file(path);
  const auto merged = MergeRanges({{&file, 5000, 6000},
                                   {&file, 8192, 8193},
                                   {&file, 1 << 20, (1 << 20) + 1},
                                   {&file, 100, 100},
                                   {&file, 70000, 70001}});
  ASSERT_EQ(merged.size(), 2u);
  EXPECT_EQ(merged[0].begin, 4096u);
  EXPECT_EQ(merged[0].end, 73728u);
  EXPECT_EQ(merged[1].begin, 1u << 20);
  EXPECT_EQ(BytesOf(merged), 73728u - 4096u + 4096u);
  fs::remove(path);
}

TEST(ParseReadMode, ListsTheNames) {
  EXPECT_EQ(ParseReadMode("mmap"), ReadMode::kMapped);
  EXPECT_THROW(ParseReadMode("fast"), Error);
}

}  // namespace
}  // namespace cacheready
