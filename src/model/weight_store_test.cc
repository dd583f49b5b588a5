// SPDX-License-Identifier: Apache-2.0
#include "model/weight_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/error.h"
#include "base/parallel.h"
#include "model/expert_pass.h"

namespace cacheready {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr std::int64_t kStoredExperts = 6;
constexpr std::int64_t kRows = 256;  // of one expert, 256 KiB: apart from its neighbours
constexpr std::uint64_t kExpertBytes = 256 * 1024;

// A checkpoint of one layer: a norm, experts apart, experts fused, in this order.
class WeightStoreTest : public testing::Test {
 protected:
  WeightStoreTest() {
    folder_ = fs::path(testing::TempDir()) /
              testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    std::ofstream(folder_ / "config.json") << "{}";
    bytes_.resize(kStoredExperts * kExpertBytes);
    for (std::size_t n = 0; n < bytes_.size(); ++n) bytes_[n] = static_cast<std::byte>(n * 13 >> 4);
    const std::span<const std::byte> one = std::span(bytes_).first(kExpertBytes);
    std::vector<NamedTensor> tensors = {{"norm", Dtype::kF32, {kRows, 256}, one},
                                        {"pad", Dtype::kF32, {kRows, 256}, one}};
    for (std::int64_t e = 0; e < kStoredExperts; ++e) {
      tensors.push_back({fmt::format("expert.{}", e), Dtype::kF32, {kRows, 256}, one});
      tensors.push_back({fmt::format("pad.{}", e), Dtype::kF32, {kRows, 256}, one});
    }
    tensors.push_back({"fused", Dtype::kF32, {kStoredExperts, kRows, 256}, bytes_});
    const std::vector<std::byte> file = SerializeSafetensors(tensors);
    std::ofstream(folder_ / "model.safetensors", std::ios::binary)
        .write(reinterpret_cast<const char*>(file.data()),
               static_cast<std::streamsize>(file.size()));
    checkpoint_.emplace(Checkpoint::Open(folder_));
    const ImageRange norm = checkpoint_->RangeOf(Tensor("norm"));
    ImageReader(ReadMode::kMapped)
        .Drop(MergeRanges({{norm.file, 0, file.size()}}));  // the kernel maps ahead
  }
  ~WeightStoreTest() override { fs::remove_all(folder_); }

  const TensorView& Tensor(const std::string& name) const { return checkpoint_->GetTensor(name); }
  PartRanges Experts() const {
    WeightUse use;
    use.AddTensor(Tensor("norm"));
    for (std::int64_t e = 0; e < kStoredExperts; ++e) {
      use.EnterExpert(e);
      use.AddTensor(Tensor(fmt::format("expert.{}", e)));
    }
    return use.Ranges(*checkpoint_);
  }
  // Whether the middle of a tensor is in memory of this process, told by the kernel.
  static bool IsInMemory(const TensorView& tensor) {
    const auto middle = reinterpret_cast<std::uintptr_t>(&tensor.bytes[kExpertBytes / 2]);
    const int pages = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    std::uint64_t entry = 0;
    EXPECT_EQ(pread(pages, &entry, sizeof entry, static_cast<off_t>(middle / 4096 * 8)),
              static_cast<ssize_t>(sizeof entry));
    close(pages);
    return (entry >> 63) != 0;
  }
  std::set<std::int64_t> ExpertsInMemory() const {
    std::set<std::int64_t> found;
    for (std::int64_t e = 0; e < kStoredExperts; ++e) {
      if (IsInMemory(Tensor(fmt::format("expert.{}", e)))) found.insert(e);
    }
    return found;
  }

  fs::path folder_;
  std::vector<std::byte> bytes_;
  std::optional<Checkpoint> checkpoint_;
};

// Whole pages around exactly these bytes.
void ExpectAround(const std::vector<ImageRange>& ranges, const ImageRange& bytes) {
  ASSERT_EQ(ranges.size(), 1u);
  EXPECT_EQ(ranges[0].begin, bytes.begin / 4096 * 4096);
  EXPECT_EQ(ranges[0].end, (bytes.end + 4095) / 4096 * 4096);
}

TEST_F(WeightStoreTest, ATensorBelongsToTheExpertThatOpensItAndASliceOfAFusedOneToEach) {
  WeightUse use;
  use.AddTensor(Tensor("norm"));
  use.AddTensor(Tensor("fused"));  // its shape is looked at first
  for (std::int64_t e = 0; e < kStoredExperts; ++e) {
    use.EnterExpert(e);
    use.AddTensor(Tensor("fused"));
    use.AddTensor(Tensor("fused"));
  }
  use.EnterExpert(-1);
  const PartRanges fused = use.Ranges(*checkpoint_);
  ExpectAround(fused.common, checkpoint_->RangeOf(Tensor("norm")));
  ASSERT_EQ(fused.experts.size(), 6u);
  const ImageRange whole = checkpoint_->RangeOf(Tensor("fused"));
  ExpectAround(fused.experts[4],
               {whole.file, whole.begin + 4 * kExpertBytes, whole.begin + 5 * kExpertBytes});

  const PartRanges apart = Experts();
  ExpectAround(apart.common, checkpoint_->RangeOf(Tensor("norm")));
  ExpectAround(apart.experts[3], checkpoint_->RangeOf(Tensor("expert.3")));
}

TEST_F(WeightStoreTest, OnlyThePartThatIsEnteredIsInMemory) {
  WeightUse next;
  next.AddTensor(Tensor("pad"));
  WeightStore store({Experts(), next.Ranges(*checkpoint_)}, {});
  store.Use({.residency = Residency::kLayer, .mode = ReadMode::kBuffered});
  EXPECT_EQ(ExpertsInMemory(), std::set<std::int64_t>{});
  store.Enter(0);
  EXPECT_EQ(ExpertsInMemory(), (std::set<std::int64_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_TRUE(IsInMemory(Tensor("norm")));
  EXPECT_FALSE(IsInMemory(Tensor("pad")));
  store.Leave(0);
  EXPECT_EQ(ExpertsInMemory(), std::set<std::int64_t>{});
  store.Enter(1);
  EXPECT_TRUE(IsInMemory(Tensor("pad")));
}

TEST_F(WeightStoreTest, TheNextPartIsReadMeanwhileAndAnErrorInItComesWhenItIsEntered) {
  WeightUse next;
  next.AddTensor(Tensor("pad"));
  WeightStore store({next.Ranges(*checkpoint_), Experts()}, {});
  store.Use({.residency = Residency::kLayerAndNext, .mode = ReadMode::kBuffered});
  fs::resize_file(folder_ / "model.safetensors", 3 * kExpertBytes);
  store.Enter(0);
  EXPECT_TRUE(std::ranges::equal(Tensor("pad").bytes, std::span(bytes_).first(kExpertBytes)));
  store.Leave(0);
  try {
    store.Enter(1);
    FAIL() << "entered";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("shrank while in use"));
    EXPECT_THAT(error.what(), HasSubstr("model.safetensors"));
  }
}

class ExpertPassTest : public WeightStoreTest {
 protected:
  ExpertPassTest() : store_({Experts()}, {}) {
    store_.Use({.residency = Residency::kExperts,
                .mode = ReadMode::kBuffered,
                .expert_bytes = 2 * kExpertBytes + 2 * 4096});
    moe_.store = &store_;
    moe_.part = 0;
    store_.Enter(0);
  }
  WeightStore store_;
  MoeBlock moe_;
};

TEST_F(ExpertPassTest, ReadsInTheOrderOfThePassNoMoreThanFitsAndDropsBehind) {
  EXPECT_EQ(ExpertsInMemory(), std::set<std::int64_t>{});
  {
    ExpertPass pass(moe_, {5, 1, 3, 0});
    pass.Wait(1);
    EXPECT_EQ(ExpertsInMemory(), (std::set<std::int64_t>{1, 5}));
    pass.Done(0);
    pass.Wait(2);
    EXPECT_EQ(ExpertsInMemory(), (std::set<std::int64_t>{1, 3}));
    pass.Done(1);
    pass.Wait(3);
    EXPECT_EQ(ExpertsInMemory(), (std::set<std::int64_t>{0, 3}));
  }
  EXPECT_EQ(ExpertsInMemory(), std::set<std::int64_t>{});
}

TEST_F(ExpertPassTest, EachIsInMemoryWhileItsBodyRunsOnAnyNumberOfThreads) {
  const int threads = NumThreads();
  for (const int count : {1, 2, 7}) {
    SetNumThreads(count);
    std::vector<std::int32_t> order;
    for (std::int32_t n = 0; n < 40; ++n) order.push_back(n * 5 % kStoredExperts);
    std::vector<std::atomic<int>> runs(order.size());
    std::atomic<bool> right = true;
    ForEachExpert(moe_, order, [&](std::int64_t n) {
      const auto at = static_cast<std::size_t>(n);
      const TensorView& tensor = Tensor(fmt::format("expert.{}", order[at]));
      if (!std::ranges::equal(tensor.bytes, std::span(bytes_).first(kExpertBytes))) right = false;
      ++runs[at];
    });
    EXPECT_TRUE(right);
    for (const std::atomic<int>& of_index : runs) EXPECT_EQ(of_index, 1);
  }
  SetNumThreads(threads);
}

TEST_F(ExpertPassTest, BeginsWithTheExpertThatHasMostRows) {
  const int threads = NumThreads();
  SetNumThreads(1);
  const std::vector<std::vector<std::int32_t>> rows = {{1}, {}, {1, 2, 3}, {4, 5}, {6, 7, 8}, {}};
  std::vector<std::int32_t> order;
  ForEachExpertWithRows(moe_, rows, [&](std::int32_t expert) { order.push_back(expert); });
  SetNumThreads(threads);
  EXPECT_EQ(order, (std::vector<std::int32_t>{2, 4, 3, 0}));
}

TEST_F(ExpertPassTest, AFailingBodyEndsThePassAndNobodyWaitsForIt) {
  const int threads = NumThreads();
  SetNumThreads(3);
  const auto body = [](std::int64_t n) {
    if (n == 2) Fail("expert at {}", n);
  };
  EXPECT_THROW(ForEachExpert(moe_, {0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5}, body), Error);
  SetNumThreads(threads);
  EXPECT_EQ(ExpertsInMemory(), std::set<std::int64_t>{});
}

TEST_F(ExpertPassTest, AnExpertThatCannotBeReadIsAnErrorForAllThatWait) {
  const int threads = NumThreads();
  SetNumThreads(3);
  fs::resize_file(folder_ / "model.safetensors", 4 * kExpertBytes);
  EXPECT_THROW(ForEachExpert(moe_, {0, 1, 2, 3, 4, 5}, [](std::int64_t) {}), Error);
  SetNumThreads(threads);
}

}  // namespace
}  // namespace cacheready
