// SPDX-License-Identifier: Apache-2.0
#include "support/golden.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <map>
#include <set>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "model/model.h"
#include "stream/forward.h"
#include "support/safetensors_contents.h"

namespace cacheready {
namespace {

constexpr double kTensorBound = 1e-4;
constexpr double kTokenBound = 1e-3;
constexpr double kTieBound = 1e-4;

// Layer -> start of the names of its router's outputs ("model.layers.3.mlp.gate.").
std::map<std::int64_t, std::string> RouterNames(const SafetensorsContents& golden) {
  std::map<std::int64_t, std::string> names;
  for (const auto& [name, tensor] : golden.tensors()) {
    const auto output = name.rfind("output0");
    const auto layers = name.find("layers.");
    if (output == std::string::npos || layers == std::string::npos) continue;
    names[std::strtoll(name.c_str() + layers + 7, nullptr, 10)] = name.substr(0, output);
  }
  return names;
}

class Comparison {
 public:
  // Returns the relative L2 of the whole tensor.
  double Compare(const std::string& name, const Matrix& golden, const Matrix& ours) {
    if (golden.rows() != ours.rows() || golden.cols() != ours.cols()) {
      Disagree("{}: shape [{}, {}], golden [{}, {}]", name, ours.rows(), ours.cols(), golden.rows(),
               golden.cols());
      return std::numeric_limits<double>::infinity();
    }
    double squared = 0, squared_golden = 0, worst_token = 0;
    std::int64_t where = 0;
    for (std::int64_t t = 0; t < golden.rows(); ++t) {
      const double difference = Squared(golden.row(t), ours.row(t));
      const double norm = Squared(golden.row(t), {});
      squared += difference;
      squared_golden += norm;
      const double relative = Relative(difference, norm);
      if (relative > worst_token) where = t;
      worst_token = std::max(worst_token, relative);
    }
    const double tensor = Relative(squared, squared_golden);
    report.compared.push_back(fmt::format("{}: relative L2 {:.2e}, worst token {} {:.2e}", name,
                                          tensor, where, worst_token));
    // Negated, so that NaN disagrees.
    if (!(tensor <= kTensorBound) || !(worst_token <= kTokenBound)) {
      report.disagreements.push_back(report.compared.back());
    }
    report.worst_tensor = std::max(report.worst_tensor, tensor);
    report.worst_token = std::max(report.worst_token, worst_token);
    return tensor;
  }

  template <typename... Args>
  void Disagree(fmt::format_string<Args...> format, Args&&... args) {
    report.disagreements.push_back(fmt::format(format, std::forward<Args>(args)...));
  }

  GoldenReport report;
  std::map<std::int64_t, std::int64_t> equal_selections;  // by layer, before any is forced

 private:
  static double Squared(std::span<const float> a, std::span<const float> b) {
    double sum = 0;
    for (std::size_t n = 0; n < a.size(); ++n) {
      const double value = static_cast<double>(a[n]) - (b.empty() ? 0.0 : b[n]);
      sum += value * value;
    }
    return sum;
  }
  static double Relative(double squared, double squared_golden) {
    if (squared == 0) return 0;
    return std::sqrt(squared / squared_golden);
  }
};

// Gap between the count-th and the next of the scores, over 1 + the magnitude of the former.
double BoundaryGap(std::vector<float> scores, std::int64_t count) {
  if (count >= static_cast<std::int64_t>(scores.size())) {
    return std::numeric_limits<double>::infinity();
  }
  std::sort(scores.begin(), scores.end(), std::greater<>());
  const auto n = static_cast<std::size_t>(count);
  return (scores[n - 1] - scores[n]) / (1.0 + std::abs(scores[n - 1]));
}

bool IsNearTie(const RouterSpec& spec, const Matrix& logits, std::int64_t token) {
  Matrix row(1, logits.cols());
  std::copy_n(logits.row(token).begin(), logits.cols(), row.values().begin());
  const Matrix ranking = RankingScores(spec, row);
  if (BoundaryGap({ranking.values().begin(), ranking.values().end()}, spec.top_k) <= kTieBound) {
    return true;
  }
  if (spec.top_groups >= spec.num_groups) return false;
  RouterSpec ungrouped = spec;
  ungrouped.num_groups = ungrouped.top_groups = 1;
  const Matrix all = RankingScores(ungrouped, row);
  const std::int64_t size = spec.experts / spec.num_groups;
  std::vector<float> groups;
  for (std::int64_t g = 0; g < spec.num_groups; ++g) {
    std::vector<float> members(all.values().begin() + g * size,
                               all.values().begin() + (g + 1) * size);
    std::sort(members.begin(), members.end(), std::greater<>());
    groups.push_back(spec.scoring == Scoring::kSigmoid ? members[0] + members[1] : members[0]);
  }
  return BoundaryGap(groups, spec.top_groups) <= kTieBound;
}

// Selected weights at their experts' places: the order of ids in a row means nothing.
Matrix ScatterWeights(std::span<const std::int32_t> ids, std::span<const float> weights,
                      std::int64_t tokens, std::int64_t experts) {
  Matrix scattered(tokens, experts);
  const std::size_t top_k = ids.size() / static_cast<std::size_t>(tokens);
  for (std::size_t n = 0; n < ids.size(); ++n) {
    scattered.at(static_cast<std::int64_t>(n / top_k), ids[n]) = weights[n];
  }
  return scattered;
}

enum class Selections { kEqual, kNearTies, kDiffer };

Selections CompareSelections(std::int64_t layer, const RoutedLayer& router,
                             std::span<const std::int32_t> golden, Comparison& comparison) {
  const Routing& routing = router.routing;
  if (golden.size() != routing.ids.size()) {
    comparison.Disagree("layer {}: {} ids, golden {}", layer, routing.ids.size(), golden.size());
    return Selections::kDiffer;
  }
  Selections result = Selections::kEqual;
  std::int64_t equal = 0;
  const auto top_k = static_cast<std::size_t>(routing.top_k);
  for (std::int64_t t = 0; t < routing.tokens(); ++t) {
    const auto ours = routing.ids_of(t);
    const auto theirs = golden.subspan(static_cast<std::size_t>(t) * top_k, top_k);
    if (std::set<std::int32_t>(ours.begin(), ours.end()) ==
        std::set<std::int32_t>(theirs.begin(), theirs.end())) {
      ++equal;
      continue;
    }
    if (!IsNearTie(router.spec, router.logits, t)) {
      comparison.Disagree("layer {}, token {}: selection differs, and no tie is near", layer, t);
      return Selections::kDiffer;
    }
    result = Selections::kNearTies;
  }
  comparison.equal_selections[layer] = equal;
  return result;
}

// Ids as the golden has them, or what its logits select.
std::vector<std::int32_t> GoldenIds(const GoldenCase& names, const SafetensorsContents& golden,
                                    const std::string& prefix, const RouterSpec& spec) {
  if (!names.ids.empty()) return golden.Ids(prefix + names.ids);
  return Route(spec, golden.Floats(prefix + names.logits), Fp32Arithmetic()).ids;
}

// The first layer whose near ties fall otherwise gets the golden's ids; false if there is none.
bool ForceNextLayer(const GoldenCase& names, const SafetensorsContents& golden,
                    const ForwardOutputs& ours, ForcedIds& forced, Comparison& comparison) {
  for (const auto& [layer, prefix] : RouterNames(golden)) {
    if (forced.contains(layer)) continue;
    const auto router = ours.routers.find(layer);
    if (router == ours.routers.end()) continue;
    const std::vector<std::int32_t> ids = GoldenIds(names, golden, prefix, router->second.spec);
    const Selections selections = CompareSelections(layer, router->second, ids, comparison);
    if (selections == Selections::kDiffer) return false;
    if (selections == Selections::kEqual) continue;
    forced[layer] = ids;
    comparison.report.forced.push_back(fmt::format("layer {}: near ties fall otherwise", layer));
    return true;
  }
  return false;
}

void CompareRouters(const GoldenCase& names, const SafetensorsContents& golden,
                    const ForwardOutputs& ours, Comparison& comparison) {
  const auto routers = RouterNames(golden);
  if (routers.size() != ours.routers.size()) {
    comparison.Disagree("{} routed layers, golden {}", ours.routers.size(), routers.size());
  }
  for (const auto& [layer, prefix] : routers) {
    const auto found = ours.routers.find(layer);
    if (found == ours.routers.end()) {
      comparison.Disagree("layer {} is routed in the golden only", layer);
      continue;
    }
    const auto& [spec, logits, routing] = found->second;
    if (!names.logits.empty()) {
      comparison.Compare(prefix + names.logits, golden.Floats(prefix + names.logits), logits);
    }
    const Matrix scattered =
        ScatterWeights(routing.ids, routing.weights, routing.tokens(), spec.experts);
    if (!names.scattered_weights.empty()) {
      const std::string name = prefix + names.scattered_weights;
      comparison.Compare(name, golden.Floats(name), scattered);
    }
    if (names.weights.empty() || names.ids.empty()) continue;
    const std::vector<float> weights = ReadFloats(golden.Get(prefix + names.weights));
    comparison.Compare(
        prefix + names.weights,
        ScatterWeights(golden.Ids(prefix + names.ids), weights, routing.tokens(), spec.experts),
        scattered);
  }
}

}  // namespace

GoldenReport CompareWithGolden(const GoldenCase& names) {
  const Checkpoint checkpoint = Checkpoint::Open(names.checkpoint);
  const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  const SafetensorsContents golden(names.golden);
  TokenBatch batch;
  batch.ids = golden.Ids("input_ids");
  batch.bounds = {0, batch.tokens()};

  Comparison comparison;
  ForcedIds forced;
  ForwardOutputs ours = RunForward(*model, batch, Fp32Arithmetic());
  while (ForceNextLayer(names, golden, ours, forced, comparison)) {
    ours = RunForward(*model, batch, Fp32Arithmetic(), &forced);
  }
  for (std::size_t n = 0; n < ours.hidden_states.size(); ++n) {
    const std::string name = fmt::format("hidden_states.{}", n);
    const double error = comparison.Compare(name, golden.Floats(name), ours.hidden_states[n]);
    comparison.report.worst_hidden = std::max(comparison.report.worst_hidden, error);
  }
  CompareRouters(names, golden, ours, comparison);
  comparison.report.worst_logits =
      comparison.Compare("logits", golden.Floats("logits"), ours.logits);
  for (const auto& [layer, equal] : comparison.equal_selections) {
    comparison.report.selections += batch.tokens();
    comparison.report.equal_selections += equal;
  }
  return std::move(comparison.report);
}

std::string Summary(const GoldenReport& report) {
  return fmt::format(
      "relative L2 of hidden states {:.1e}, of logits {:.1e}, worst token {:.1e}; {} of {} "
      "selections equal, {} layers forced",
      report.worst_hidden, report.worst_logits, report.worst_token, report.equal_selections,
      report.selections, report.forced.size());
}

std::string Text(const GoldenReport& report) {
  std::string text = fmt::format("worst relative L2: {:.2e} per tensor, {:.2e} per token\n",
                                 report.worst_tensor, report.worst_token);
  for (const auto* lines : {&report.disagreements, &report.forced, &report.compared}) {
    const char* label = lines == &report.disagreements ? "DISAGREES " : "";
    for (const std::string& line : *lines) text += fmt::format("  {}{}\n", label, line);
  }
  return text;
}

}  // namespace cacheready
