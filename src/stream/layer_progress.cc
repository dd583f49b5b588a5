// SPDX-License-Identifier: Apache-2.0
#include "stream/layer_progress.h"

#include <fmt/format.h>

#include <utility>

#include "base/clock.h"
#include "base/memory.h"
#include "model/weight_store.h"

namespace cacheready {
namespace {

std::uint64_t BytesRead(const Model& model) {
  return model.store() != nullptr ? model.store()->bytes_read() : 0;
}

}  // namespace

std::string RateText(std::uint64_t bytes_read, std::uint64_t flops, double seconds,
                     std::uint64_t resident_bytes) {
  return fmt::format("{:.2f} GB/s read, {:.2f} TFLOP/s in experts, {:.1f} GB of memory",
                     1e-9 * static_cast<double>(bytes_read) / seconds,
                     1e-12 * static_cast<double>(flops) / seconds,
                     1e-9 * static_cast<double>(resident_bytes));
}

LayerProgress::LayerProgress(std::string label, const Model& model)
    : model_(model),
      progress_(std::move(label), model.info().layers),
      start_seconds_(Seconds()),
      start_read_(BytesRead(model)),
      start_flops_(FeedForwardFlops()) {}

void LayerProgress::Update(std::int64_t layers_done) {
  const double seconds = Seconds() - start_seconds_;
  const std::uint64_t read = BytesRead(model_) - start_read_;
  const std::uint64_t flops = FeedForwardFlops() - start_flops_;
  progress_.Update(layers_done,
                   fmt::format("({})", RateText(read, flops, seconds, ResidentBytes())));
}

}  // namespace cacheready
