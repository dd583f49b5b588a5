// The status line of a run over the layers: what is left, how fast it reads and computes, how much
// memory it has.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "base/console.h"
#include "model/model.h"

namespace cacheready {

class LayerProgress {
 public:
  // `model` must outlive it.
  LayerProgress(std::string label, const Model& model);
  void Update(std::int64_t layers_done);

 private:
  const Model& model_;
  Progress progress_;
  double start_seconds_;
  std::uint64_t start_read_, start_flops_;
};

// "2.61 GB/s read, 0.42 TFLOP/s in experts, 6.3 GB of memory"
std::string RateText(std::uint64_t bytes_read, std::uint64_t flops, double seconds,
                     std::uint64_t resident_bytes);

}  // namespace cacheready
