// The weights of a model in memory, a part at a time: which of them are there is decided here, what
// they are is not. A part that is not loaded can be used all the same: the kernel then reads each
// page as it is touched.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/image_reader.h"
#include "model/weight_use.h"

namespace cacheready {

// What is in memory of the weights while a layer runs. All give the same results.
enum class Residency : std::uint8_t {
  kUnmanaged,     // whatever has been touched; the library's default
  kLayerAndNext,  // a layer, and the next one is read meanwhile
  kLayer,         // a layer
  kExperts,       // a layer without its experts, which are read in each pass over them
};
std::string ResidencyText(Residency residency);  // "one layer, the next read ahead"

struct ReadingPlan {
  Residency residency = Residency::kUnmanaged;
  ReadMode mode = ReadMode::kAuto;
  std::uint64_t weight_bytes = 0;  // of all weights held at once
  std::uint64_t expert_bytes = 0;  // of kExperts: of experts held at once
  bool reads_head = true;          // the head is entered after the last layer
  // Held at once of what experts give, and of logits over the vocabulary: no result depends on it.
  std::uint64_t output_bytes = std::uint64_t{1} << 30;
  std::uint64_t logit_bytes = std::uint64_t{1} << 30;
};

// Parts are the layers 0 ... n - 1, then the head: final norm and output matrix. Layers are entered
// in rising order for the sake of speed only. One thread enters and leaves.
class WeightStore {
 public:
  WeightStore(std::vector<PartRanges> parts, std::vector<ImageRange> embedding);
  ~WeightStore();
  WeightStore(const WeightStore&) = delete;
  WeightStore& operator=(const WeightStore&) = delete;

  // Before the first part is entered.
  void Use(const ReadingPlan& plan);
  const ReadingPlan& plan() const { return plan_; }

  // Returns when the part is in memory. Fails, naming the file, if it cannot be read.
  void Enter(std::int64_t part);
  void Leave(std::int64_t part);
  // Rows of the embedding for so many tokens are about to be read; some of them have been; all.
  void EnterEmbedding(std::int64_t tokens);
  void TrimEmbedding();
  void LeaveEmbedding();

  // Experts of the part that is entered, by ExpertPass alone.
  void LoadExperts(std::int64_t part, std::span<const std::int32_t> experts,
                   const std::atomic<bool>& stop);
  void DropExpert(std::int64_t part, std::int32_t expert);
  std::uint64_t ExpertBytes(std::int64_t part, std::int32_t expert) const;

  std::int64_t parts() const { return static_cast<std::int64_t>(parts_.size()); }
  std::uint64_t CommonBytes(std::int64_t part) const;  // without routed experts
  std::uint64_t PartBytes(std::int64_t part) const;    // with them
  std::uint64_t LargestExpertBytes(std::int64_t part) const;
  std::uint64_t EmbeddingBytes() const { return BytesOf(embedding_); }

  std::uint64_t bytes_read() const { return reader_ == nullptr ? 0 : reader_->bytes_read(); }
  const char* way() const { return reader_ == nullptr ? "mapped pages" : reader_->way(); }

 private:
  void Load(std::int64_t part, const std::atomic<bool>* stop);
  void Drop(std::int64_t part);
  std::int64_t EndOfParts() const { return plan_.reads_head ? parts() : parts() - 1; }
  void StartReadingAhead(std::int64_t part);
  void StopReadingAhead();

  std::vector<PartRanges> parts_;
  std::vector<std::vector<ImageRange>> whole_;  // of each part: common and experts, merged
  std::vector<ImageRange> embedding_;
  bool embedding_loaded_ = false;
  ReadingPlan plan_;
  std::unique_ptr<ImageReader> reader_;  // null: unmanaged
  // Last, so that it ends before what it uses.
  std::int64_t ahead_ = -1;  // part being read ahead, or read and not yet entered
  std::atomic<bool> stop_ahead_ = false;
  std::future<void> reading_ahead_;
};

// As the store reads; of null, what the library does by itself.
ReadingPlan PlanOf(const WeightStore* store);

// A part in memory while this lives. Does nothing where `store` is null.
class HeldPart {
 public:
  HeldPart(WeightStore* store, std::int64_t part);
  ~HeldPart();
  HeldPart(const HeldPart&) = delete;
  HeldPart& operator=(const HeldPart&) = delete;

 private:
  WeightStore* store_;
  std::int64_t part_;
};

}  // namespace cacheready
