// A checkpoint with the same files, headers and layout as another, in which the bytes of some
// tensors differ.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace cacheready {

// Tensor name -> all its new bytes, of the same length as the old ones.
class TensorEdits {
 public:
  explicit TensorEdits(const Checkpoint& source) : source_(&source) {}

  // The bytes of the tensor as edited so far, to be changed in place. Fails if absent. Valid while
  // this lives.
  std::span<std::byte> Bytes(std::string_view tensor);
  const Checkpoint& source() const { return *source_; }
  const std::map<std::string, std::vector<std::byte>, std::less<>>& edited() const {
    return edited_;
  }

 private:
  const Checkpoint* source_;
  std::map<std::string, std::vector<std::byte>, std::less<>> edited_;
};

// Writes the edited copy of the whole folder into the new or empty folder `out`, one shard in
// memory at a time.
void WriteEditedCheckpoint(const TensorEdits& edits, const std::filesystem::path& out);

}  // namespace cacheready
