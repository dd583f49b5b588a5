// SPDX-License-Identifier: Apache-2.0
#include "model/weight_store.h"

#include <algorithm>
#include <utility>

#include "base/console.h"
#include "base/error.h"

namespace cacheready {
namespace {

// The kernel reads about so much for a row that is touched: with more tokens than this leaves room
// for, the whole embedding is read.
constexpr std::uint64_t kBytesPerRow = std::uint64_t{64} << 10;

}  // namespace

std::string ResidencyText(Residency residency) {
  switch (residency) {
    case Residency::kLayerAndNext:
      return "one layer, the next read ahead";
    case Residency::kLayer:
      return "one layer";
    case Residency::kExperts:
      return "one layer without its experts, which are read again in each pass over them";
    case Residency::kUnmanaged:
      break;
  }
  return "what has been touched";
}

WeightStore::WeightStore(std::vector<PartRanges> parts, std::vector<ImageRange> embedding)
    : parts_(std::move(parts)), embedding_(std::move(embedding)) {
  for (const PartRanges& part : parts_) {
    std::vector<ImageRange> all = part.common;
    for (const auto& expert : part.experts) all.insert(all.end(), expert.begin(), expert.end());
    whole_.push_back(MergeRanges(std::move(all)));
  }
}

WeightStore::~WeightStore() {
  stop_ahead_ = true;
  if (reading_ahead_.valid()) reading_ahead_.wait();
}

void WeightStore::Use(const ReadingPlan& plan) {
  StopReadingAhead();
  plan_ = plan;
  reader_ =
      plan.residency == Residency::kUnmanaged ? nullptr : std::make_unique<ImageReader>(plan.mode);
}

std::uint64_t WeightStore::CommonBytes(std::int64_t part) const {
  return BytesOf(parts_[static_cast<std::size_t>(part)].common);
}

std::uint64_t WeightStore::PartBytes(std::int64_t part) const {
  return BytesOf(whole_[static_cast<std::size_t>(part)]);
}

std::uint64_t WeightStore::ExpertBytes(std::int64_t part, std::int32_t expert) const {
  return BytesOf(parts_[static_cast<std::size_t>(part)].experts[static_cast<std::size_t>(expert)]);
}

std::uint64_t WeightStore::LargestExpertBytes(std::int64_t part) const {
  std::uint64_t largest = 0;
  for (const auto& expert : parts_[static_cast<std::size_t>(part)].experts) {
    largest = std::max(largest, BytesOf(expert));
  }
  return largest;
}

void WeightStore::Load(std::int64_t part, const std::atomic<bool>* stop) {
  const auto n = static_cast<std::size_t>(part);
  reader_->Load(plan_.residency == Residency::kExperts ? parts_[n].common : whole_[n], stop);
}

void WeightStore::Drop(std::int64_t part) { reader_->Drop(whole_[static_cast<std::size_t>(part)]); }

void WeightStore::StartReadingAhead(std::int64_t part) {
  ahead_ = part;
  stop_ahead_ = false;
  reading_ahead_ = std::async(std::launch::async, [this, part] { Load(part, &stop_ahead_); });
}

void WeightStore::StopReadingAhead() {
  if (ahead_ < 0) return;
  stop_ahead_ = true;
  reading_ahead_.wait();  // what it found wrong matters to nobody who does not use the part
  reading_ahead_ = {};
  Drop(ahead_);
  ahead_ = -1;
}

void WeightStore::Enter(std::int64_t part) {
  if (reader_ == nullptr) return;
  if (part == ahead_) {
    ahead_ = -1;
    reading_ahead_.get();
  } else {
    StopReadingAhead();
    Load(part, nullptr);
  }
  if (plan_.residency == Residency::kLayerAndNext && part + 1 < EndOfParts()) {
    StartReadingAhead(part + 1);
  }
}

void WeightStore::Leave(std::int64_t part) {
  if (reader_ == nullptr) return;
  reader_->Reclaim(whole_[static_cast<std::size_t>(part)]);
  if (part + 1 >= EndOfParts()) reader_->FreeSpare();
}

void WeightStore::EnterEmbedding(std::int64_t tokens) {
  if (reader_ == nullptr) return;
  StopReadingAhead();
  embedding_loaded_ = EmbeddingBytes() <= plan_.weight_bytes &&
                      EmbeddingBytes() < static_cast<std::uint64_t>(tokens) * kBytesPerRow;
  if (embedding_loaded_) {
    reader_->Load(embedding_);
  } else {
    ImageReader::ExpectFewTouches(embedding_);
  }
}

void WeightStore::LeaveEmbedding() {
  if (reader_ != nullptr) reader_->Drop(embedding_);
}

void WeightStore::TrimEmbedding() {
  if (reader_ == nullptr || embedding_loaded_) return;
  reader_->Drop(embedding_);
  ImageReader::ExpectFewTouches(embedding_);
}

void WeightStore::LoadExperts(std::int64_t part, std::span<const std::int32_t> experts,
                              const std::atomic<bool>& stop) {
  std::vector<ImageRange> ranges;
  for (const std::int32_t e : experts) {
    const auto& expert =
        parts_[static_cast<std::size_t>(part)].experts[static_cast<std::size_t>(e)];
    ranges.insert(ranges.end(), expert.begin(), expert.end());
  }
  reader_->Load(MergeRanges(std::move(ranges)), &stop);
}

void WeightStore::DropExpert(std::int64_t part, std::int32_t expert) {
  reader_->Drop(parts_[static_cast<std::size_t>(part)].experts[static_cast<std::size_t>(expert)]);
}

ReadingPlan PlanOf(const WeightStore* store) {
  return store != nullptr ? store->plan() : ReadingPlan{};
}

HeldPart::HeldPart(WeightStore* store, std::int64_t part) : store_(store), part_(part) {
  if (store_ != nullptr) store_->Enter(part_);
}

HeldPart::~HeldPart() {
  try {
    if (store_ != nullptr) store_->Leave(part_);
  } catch (const Error& error) {
    Warn(error.what());  // the weights stay in memory; nothing else comes of it
  }
}

}  // namespace cacheready
