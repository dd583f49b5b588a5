// One MoE layer beside reading it: every expert of a checkpoint's first routed layer on the same
// tokens, its weights in memory; its weights read past the page cache; and both at once, as a run
// does it that keeps a ring of experts. Rounds take turns. Prints one JSON object;
// bench/moe_layer adds the checkpoint. SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <numeric>

#include "arithmetic/numerics.h"
#include "arithmetic/profile.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/parallel.h"
#include "base/random.h"
#include "compute/product_totals.h"
#include "model/expert_pass.h"
#include "model/weight_store.h"
#include "summary.h"

namespace cacheready {
namespace {

struct Options {
  std::string checkpoint;
  std::vector<std::int64_t> tokens = {256};
  std::vector<std::string> numerics = {"fp32", "auto"};
  std::string io = "uring";
  int rounds = 5;
  int threads = 0;
};

template <typename Work>
double SecondsOf(Work work) {
  const double begin = Seconds();
  work();
  return Seconds() - begin;
}

Matrix NormalTokens(std::int64_t tokens, std::int64_t hidden) {
  Matrix x(tokens, hidden);
  for (std::size_t n = 0; n < x.values().size(); ++n) {
    x.values()[n] = static_cast<float>(NormalAt(1, n));
  }
  return x;
}

class MoeLayerBench {
 public:
  MoeLayerBench(const Checkpoint& checkpoint, const Options& options)
      : options_(options), model_(DescribeModel(checkpoint)) {
    layer_index_ = model_->info().moe_layers.front().layer;
    experts_.resize(static_cast<std::size_t>(model_->info().experts));
    std::iota(experts_.begin(), experts_.end(), 0);
    store().Use({.residency = Residency::kExperts,
                 .mode = ParseReadMode(options.io),
                 .weight_bytes = std::uint64_t{1} << 40,
                 .expert_bytes = std::uint64_t{512} << 20});
    layer_ = model_->OpenLayer(layer_index_);
  }

  Json Run() {
    Json result = {{"benchmark", "moe_layer"},        {"experts", model_->info().experts},
                   {"hidden", model_->info().hidden}, {"expert_width", model_->info().expert_width},
                   {"bytes", ExpertBytes()},          {"threads", NumThreads()},
                   {"rounds", options_.rounds}};
    for (const std::int64_t tokens : options_.tokens) {
      for (const std::string& name : options_.numerics) {
        result["runs"].push_back(RunOne(tokens, ParseNumerics(name)));
        std::cerr << result["runs"].back().dump() << '\n';
      }
    }
    result["way"] = store().way();
    return result;
  }

 private:
  WeightStore& store() { return *model_->store(); }

  std::uint64_t ExpertBytes() {
    std::uint64_t bytes = 0;
    for (const std::int32_t e : experts_) bytes += store().ExpertBytes(layer_index_, e);
    return bytes;
  }

  void DropAll() {
    for (const std::int32_t e : experts_) store().DropExpert(layer_index_, e);
  }

  Json RunOne(std::int64_t tokens, Numerics numerics) {
    const Matrix x = NormalTokens(tokens, model_->info().hidden);
    std::vector<std::int32_t> rows(static_cast<std::size_t>(tokens));
    std::iota(rows.begin(), rows.end(), 0);
    const auto run = [&](std::int64_t e) {
      RunExpert(Fp32Arithmetic(numerics), *layer_->moe(), e, x, rows);
    };
    const auto count = static_cast<std::int64_t>(experts_.size());
    const std::atomic<bool> stop = false;
    std::vector<double> reading, computing, together, over_slower;
    double operations = 0;
    for (int round = 0; round < options_.rounds; ++round) {
      reading.push_back(SecondsOf([&] { store().LoadExperts(layer_index_, experts_, stop); }));
      const double before = AllProducts().operations;
      computing.push_back(SecondsOf([&] { ParallelFor(count, run); }));
      operations = AllProducts().operations - before;
      DropAll();
      together.push_back(SecondsOf([&] { ForEachExpert(*layer_->moe(), experts_, run); }));
      over_slower.push_back(together.back() / std::max(reading.back(), computing.back()));
    }
    const double median = Summary(computing)["median"];
    return {{"tokens", tokens},
            {"numerics", NumericsClassName(numerics)},
            {"read_seconds", Summary(reading)},
            {"compute_seconds", Summary(computing)},
            {"compute_tflops", operations / median / 1e12},
            {"together_seconds", Summary(together)},
            {"together_over_slower", Summary(over_slower)},
            {"compute_over_read", median / Summary(reading)["median"].get<double>()}};
  }

  const Options& options_;
  std::unique_ptr<Model> model_;
  std::int64_t layer_index_ = 0;
  std::vector<std::int32_t> experts_;
  std::unique_ptr<Layer> layer_;
};

}  // namespace
}  // namespace cacheready

int main(int argc, char** argv) {
  CLI::App app("One MoE layer beside reading it; JSON on stdout");
  cacheready::Options options;
  app.add_option("checkpoint", options.checkpoint)->required();
  app.add_option("--tokens", options.tokens)->delimiter(',')->capture_default_str();
  app.add_option("--numerics", options.numerics)->delimiter(',')->capture_default_str();
  app.add_option("--io", options.io)->capture_default_str();
  app.add_option("-n,--rounds", options.rounds)->capture_default_str();
  app.add_option("--threads", options.threads, "0: all");
  CLI11_PARSE(app, argc, argv);
  if (options.threads > 0) cacheready::SetNumThreads(options.threads);
  const auto checkpoint = cacheready::Checkpoint::Open(options.checkpoint);
  std::cout << cacheready::MoeLayerBench(checkpoint, options).Run().dump(2) << '\n';
}
