// SPDX-License-Identifier: Apache-2.0
#include "io/read_engine.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>

#include "base/error.h"

namespace cacheready {
namespace {

using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

template <typename Action>
std::string MessageOf(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::unique_ptr<ReadEngine> MakeEngine(const std::string& name) {
  if (name == "pread") return MakePreadEngine();
  std::string reason;
  return MakeUringEngine(reason);
}

class ReadEngineTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    engine_ = MakeEngine(GetParam());
    if (engine_ == nullptr) GTEST_SKIP() << "io_uring is not available here";
  }
  std::unique_ptr<ReadEngine> engine_;
};

TEST_P(ReadEngineTest, ReadsManyPiecesEachToItsPlace) {
  const fs::path path = fs::path(testing::TempDir()) / (std::string("pieces_") + GetParam());
  std::string contents;
  for (int n = 0; n < 400000; ++n) contents += static_cast<char>(n * 7 + n / 256);
  std::ofstream(path, std::ios::binary) << contents;
  const int descriptor = open(path.c_str(), O_RDONLY);
  std::string read(409600, 'x');
  std::vector<ReadPiece> pieces;
  for (std::size_t at = 0; at < read.size(); at += 8192) {
    pieces.push_back({descriptor, at, 8192, std::min<std::size_t>(8192, contents.size() - at),
                      reinterpret_cast<std::byte*>(read.data()) + at, &path});
    if (at + 8192 >= contents.size()) break;
  }
  engine_->Read(pieces, nullptr);
  EXPECT_EQ(read.substr(0, contents.size()), contents);
  close(descriptor);
  fs::remove(path);
}

TEST_P(ReadEngineTest, TellsWhereAFileIsShorterThanItWas) {
  const fs::path path = fs::path(testing::TempDir()) / (std::string("short_") + GetParam());
  std::ofstream(path, std::ios::binary) << std::string(10000, 'a');
  const int descriptor = open(path.c_str(), O_RDONLY);
  std::vector<std::byte> read(16384);
  const std::vector<ReadPiece> pieces = {{descriptor, 0, 16384, 12000, read.data(), &path}};
  EXPECT_THAT(MessageOf([&] { engine_->Read(pieces, nullptr); }),
              AllOf(HasSubstr(path.string()), HasSubstr("12000 bytes at offset 0 were expected"),
                    HasSubstr("10000 found"), HasSubstr("shrank")));
  close(descriptor);
  fs::remove(path);
}

// Reading the memory of a process where it has none is an input/output error.
TEST_P(ReadEngineTest, AnErrorOfTheDeviceIsAnErrorHowEverMuchElseIsRead) {
  const fs::path good = fs::path(testing::TempDir()) / (std::string("good_") + GetParam());
  std::ofstream(good, std::ios::binary) << std::string(40960, 'a');
  const fs::path bad = "/proc/self/mem";
  const int good_descriptor = open(good.c_str(), O_RDONLY);
  const int bad_descriptor = open(bad.c_str(), O_RDONLY);
  ASSERT_GE(bad_descriptor, 0);
  std::vector<std::byte> read(40960);
  std::vector<ReadPiece> pieces;
  for (std::size_t n = 0; n < 10; ++n) {
    std::byte* to = read.data() + n * 4096;
    pieces.push_back(n == 3 ? ReadPiece{bad_descriptor, 0, 4096, 4096, to, &bad}
                            : ReadPiece{good_descriptor, n * 4096, 4096, 4096, to, &good});
  }
  EXPECT_THAT(
      MessageOf([&] { engine_->Read(pieces, nullptr); }),
      AllOf(HasSubstr("/proc/self/mem: 4096 bytes at offset 0"), HasSubstr(std::strerror(EIO))));
  close(good_descriptor);
  close(bad_descriptor);
  fs::remove(good);
}

TEST_P(ReadEngineTest, StartsNothingOnceItIsToldToStop) {
  const fs::path nowhere = "nowhere";
  std::byte byte{7};
  const std::vector<ReadPiece> pieces = {{-1, 0, 4096, 4096, &byte, &nowhere}};
  const std::atomic<bool> stop = true;
  engine_->Read(pieces, &stop);
  EXPECT_EQ(byte, std::byte{7});
}

INSTANTIATE_TEST_SUITE_P(Ways, ReadEngineTest, testing::Values("pread", "io_uring"));

TEST(GoOnAfter, RepeatsInterruptedReadsAndGoesOnAtAPage) {
  const fs::path path = "file";
  const ReadPiece piece{0, 0, 16384, 16384, nullptr, &path};
  EXPECT_EQ(GoOnAfter(piece, 4096, -EINTR), 4096u);
  EXPECT_EQ(GoOnAfter(piece, 0, 16384), 16384u);
  EXPECT_EQ(GoOnAfter(piece, 0, 9000), 8192u);  // a short read in the middle of a page
  EXPECT_EQ(GoOnAfter(piece, 8192, 8192), 16384u);
}

}  // namespace
}  // namespace cacheready
