// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/error.h"

namespace cacheready {
namespace {

class ParallelTest : public testing::Test {
 protected:
  ParallelTest() : before_(NumThreads()) {}
  ~ParallelTest() override { SetNumThreads(before_); }

 private:
  int before_;
};

TEST_F(ParallelTest, CallsTheBodyOnceForEveryIndex) {
  for (const int threads : {1, 2, 5}) {
    SetNumThreads(threads);
    for (const std::int64_t count : {0, 1, 2, 7, 1000, 100'003}) {
      std::vector<std::atomic<int>> calls(static_cast<std::size_t>(count));
      ParallelFor(count, [&](std::int64_t i) { ++calls[static_cast<std::size_t>(i)]; });
      for (const auto& c : calls) ASSERT_EQ(c.load(), 1) << threads << " threads, " << count;
    }
  }
}

TEST_F(ParallelTest, UsesAsManyThreadsAsAskedFor) {
  SetNumThreads(3);
  std::mutex mutex;
  std::set<std::thread::id> ids;
  // Each body waits until all three are there, so no thread can take two.
  std::atomic<int> arrived = 0;
  ParallelFor(3, [&](std::int64_t) {
    {
      const std::lock_guard lock(mutex);
      ids.insert(std::this_thread::get_id());
    }
    ++arrived;
    while (arrived < 3) std::this_thread::yield();
  });
  EXPECT_EQ(ids.size(), 3u);
  EXPECT_EQ(NumThreads(), 3);
}

TEST_F(ParallelTest, RunsACallFromInsideABodySerially) {
  SetNumThreads(4);
  std::atomic<int> foreign = 0;
  std::atomic<int> calls = 0;
  ParallelFor(8, [&](std::int64_t) {
    const std::thread::id outer = std::this_thread::get_id();
    ParallelFor(10, [&](std::int64_t) {
      ++calls;
      foreign += std::this_thread::get_id() != outer;
    });
  });
  EXPECT_EQ(calls, 80);
  EXPECT_EQ(foreign, 0);
}

TEST_F(ParallelTest, RethrowsTheErrorOfTheSmallestFailingIndex) {
  for (const int threads : {1, 4}) {
    SetNumThreads(threads);
    for (int repeat = 0; repeat < 50; ++repeat) {
      try {
        ParallelFor(10'000, [](std::int64_t i) {
          if (i % 100 == 37) throw std::runtime_error(std::to_string(i));
        });
        FAIL() << "no error";
      } catch (const std::runtime_error& error) {
        ASSERT_STREQ(error.what(), "37");
      }
    }
  }
}

TEST_F(ParallelTest, WorksOnAfterAnError) {
  SetNumThreads(4);
  EXPECT_THROW(ParallelFor(100, [](std::int64_t) { Fail("no"); }), Error);
  std::atomic<int> calls = 0;
  ParallelFor(100, [&](std::int64_t) { ++calls; });
  EXPECT_EQ(calls, 100);
}

TEST_F(ParallelTest, ServesSeveralCallersAtOnce) {
  SetNumThreads(3);
  std::atomic<std::int64_t> total = 0;
  {
    std::vector<std::jthread> callers;
    for (int c = 0; c < 4; ++c) {
      callers.emplace_back([&] {
        for (int i = 0; i < 100; ++i) ParallelFor(50, [&](std::int64_t k) { total += k; });
      });
    }
  }
  EXPECT_EQ(total, 4 * 100 * (49 * 50 / 2));
}

TEST_F(ParallelTest, RefusesNoThreads) { EXPECT_THROW(SetNumThreads(0), Error); }

}  // namespace
}  // namespace cacheready
