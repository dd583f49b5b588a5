// SPDX-License-Identifier: Apache-2.0
#include "stream/measured_rates.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/parallel.h"
#include "base/random.h"
#include "model/weight_store.h"

namespace cacheready {
namespace {

constexpr std::uint64_t kMostBytes = std::uint64_t{256} << 20;
constexpr std::int64_t kRows = 256;
constexpr std::int64_t kExpertsPerThread = 2;

template <typename Work>
double SecondsOf(Work work) {
  const double begin = Seconds();
  work();
  return Seconds() - begin;
}

// Of a layer, in the order of the file's experts: no more than may be held, and enough to tell.
std::vector<std::int32_t> FirstExperts(const WeightStore& store, std::int64_t layer,
                                       std::int64_t experts) {
  const std::uint64_t most = std::min(kMostBytes, store.plan().weight_bytes / 2);
  std::vector<std::int32_t> first;
  std::uint64_t bytes = 0;
  for (std::int32_t e = 0; e < experts; ++e) {
    bytes += store.ExpertBytes(layer, e);
    if (bytes > most && !first.empty()) break;
    first.push_back(e);
  }
  return first;
}

// Of two experts a thread, of the first `experts`, on random rows; the second time, since the first
// also waits for memory.
double FlopsPerSecond(const Model& model, const Layer& layer, std::int64_t experts,
                      Numerics numerics) {
  Matrix x(kRows, model.info().hidden);
  for (std::size_t n = 0; n < x.values().size(); ++n) {
    x.values()[n] = static_cast<float>(NormalAt(1, n));
  }
  std::vector<std::int32_t> rows(kRows);
  std::iota(rows.begin(), rows.end(), 0);
  const auto run_all = [&] {
    ParallelFor(kExpertsPerThread * NumThreads(), [&](std::int64_t n) {
      RunExpert(Fp32Arithmetic(numerics), *layer.moe(), n % experts, x, rows);
    });
  };
  run_all();
  const std::uint64_t flops = FeedForwardFlops();
  const double seconds = SecondsOf(run_all);
  return static_cast<double>(FeedForwardFlops() - flops) / seconds;
}

}  // namespace

MeasuredRates MeasureRates(const Model& model, Numerics numerics) {
  WeightStore& store = *model.store();
  const ModelInfo& info = model.info();
  MeasuredRates rates;
  rates.layer = info.moe_layers.front().layer;
  const std::vector<std::int32_t> experts = FirstExperts(store, rates.layer, info.experts);
  rates.experts = static_cast<std::int64_t>(experts.size());
  const std::atomic<bool> stop = false;
  const std::uint64_t before = store.bytes_read();
  const double reading = SecondsOf([&] { store.LoadExperts(rates.layer, experts, stop); });
  rates.bytes_per_second = static_cast<double>(store.bytes_read() - before) / reading;
  rates.way = store.way();

  const std::unique_ptr<Layer> layer = model.OpenLayer(rates.layer);
  const auto rate = [&](Numerics of) { return FlopsPerSecond(model, *layer, rates.experts, of); };
  rates.fp32_flops_per_second = rate(Numerics::kFp32Chain);
  rates.flops_per_second =
      numerics == Numerics::kFp32Chain ? rates.fp32_flops_per_second : rate(numerics);
  for (const std::int32_t e : experts) store.DropExpert(rates.layer, e);
  return rates;
}

}  // namespace cacheready
