// A small checkpoint with its config and tensors changed, written to a scratch folder: for tests of
// what families accept and refuse.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "tensor/dtype.h"

namespace cacheready {

class ChangedCheckpoint {
 public:
  explicit ChangedCheckpoint(const std::filesystem::path& source);
  ~ChangedCheckpoint();
  ChangedCheckpoint(const ChangedCheckpoint&) = delete;
  ChangedCheckpoint& operator=(const ChangedCheckpoint&) = delete;

  struct Tensor {
    std::string name;
    Dtype dtype = Dtype::kBF16;
    std::vector<std::int64_t> shape;
    std::vector<std::byte> bytes;
  };
  Json config;                  // change these ...
  std::vector<Tensor> tensors;  // in name order

  Tensor& Find(const std::string& name);
  void Remove(const std::string& name);
  void Rename(const std::string& from, const std::string& to);
  // Experts of `module` (".mlp.experts") laid together as gate_up_proj and down_proj, [experts,
  // out, in] or transposed [experts, in, out]; the source is per expert and BF16.
  void FuseExperts(const std::string& module, std::int64_t experts, bool transposed);

  // Every tensor below `from` goes below `to`.
  void MoveBelow(const std::string& from, const std::string& to);

  // ... then write and open them. Valid while this lives.
  Checkpoint Write();

 private:
  std::filesystem::path folder_;
};

// Why DescribeModel refuses it, or "accepted".
std::string Refusal(ChangedCheckpoint& changed);
// All that a forward pass over two documents of 15 and 25 tokens computes, bit for bit.
std::vector<std::byte> ForwardBits(const Checkpoint& checkpoint);

}  // namespace cacheready
