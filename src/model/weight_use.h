// Which bytes of a checkpoint the parts of a model read: found by opening them once, so it holds
// for every family and format. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "io/image_reader.h"

namespace cacheready {

// As they are loaded (MergeRanges): a page on an edge may belong to two parts.
struct PartRanges {
  std::vector<ImageRange> common;                // all but the routed experts
  std::vector<std::vector<ImageRange>> experts;  // [experts]; empty in a dense part
};

// Told of every tensor while a part is opened, by one thread.
class WeightUse {
 public:
  // From now on tensors belong to this expert; -1: to the common part.
  void EnterExpert(std::int64_t expert) { expert_ = expert; }
  void AddTensor(const TensorView& tensor) { tensors_.emplace_back(&tensor, expert_); }
  void AddOutputs(std::int64_t rows) {
    if (expert_ < 0) outputs_ += rows;
  }

  // A tensor that several experts read is cut into as many slices as it has experts, where its
  // first extent is their number; else it is common.
  PartRanges Ranges(const Checkpoint& checkpoint) const;
  // Columns of what all matrices of the common part give for one token: how much memory a token
  // takes while they run.
  std::int64_t outputs() const { return outputs_; }

 private:
  std::vector<std::pair<const TensorView*, std::int64_t>> tensors_;
  std::int64_t expert_ = -1;
  std::int64_t outputs_ = 0;
};

}  // namespace cacheready
