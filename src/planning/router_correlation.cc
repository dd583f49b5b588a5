// The published procedure, step by step:
//   1. softmax over all logits, covariance of the probabilities over tokens, absolute correlations;
//   2. a graph: every expert keeps its 20 strongest neighbours, an edge stays if either end keeps
//   it;
//   3. "Physarum" conductances: 200 times, a current of 1 is sent from a random expert to the one
//      half the numbering away; edge conductances relax by 5 % towards (flow ^ 1.5);
//   4. conductances of an expert are divided by their own largest, so every expert has a neighbour
//   at
//      1.0, however weak;
//   5. greedy stars in order of usage: a seed takes all free experts with coupling >= 0.7 to it.
// Step 4 is why the result does not depend on whether anything is similar: there is no absolute
// scale anywhere. The one change is the seed of step 3 (and ties in order of the expert number).
// SPDX-License-Identifier: Apache-2.0
#include "planning/router_correlation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/math.h"
#include "base/parallel.h"
#include "base/random.h"
#include "planning/numbers.h"

namespace cacheready {
namespace {

constexpr std::int64_t kNeighbours = 20;
constexpr int kIterations = 200;
constexpr double kRelaxation = 0.05;
constexpr double kFloor = 1e-8;
constexpr double kCoupling = 0.7;

void SoftmaxInto(std::span<const float> logits, std::span<double> probabilities) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (std::size_t e = 0; e < logits.size(); ++e) {
    probabilities[e] = Exp(static_cast<double>(logits[e]) - static_cast<double>(largest));
    sum += probabilities[e];
  }
  for (double& p : probabilities) p /= sum;
}

// Rows of experts, so that the sum over tokens of a pair runs over two arrays: [experts, tokens].
std::vector<double> ProbabilitiesByExpert(const Matrix& logits) {
  const std::size_t experts = At(logits.cols());
  const std::size_t tokens = At(logits.rows());
  std::vector<double> transposed(experts * tokens);
  std::vector<double> row(experts);
  for (std::size_t t = 0; t < tokens; ++t) {
    SoftmaxInto(logits.row(static_cast<std::int64_t>(t)), row);
    for (std::size_t e = 0; e < experts; ++e) transposed[e * tokens + t] = row[e];
  }
  return transposed;
}

// Four interleaved chains: a fixed order that the compiler can keep in registers.
double DotProduct(const double* a, const double* b, std::size_t count) {
  double sums[4] = {0, 0, 0, 0};
  std::size_t n = 0;
  for (; n + 4 <= count; n += 4) {
    for (std::size_t lane = 0; lane < 4; ++lane) sums[lane] += a[n + lane] * b[n + lane];
  }
  for (; n < count; ++n) sums[0] += a[n] * b[n];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

struct Edge {
  std::size_t u, v;  // u < v
  double conductance;
};

std::vector<Edge> StrongestEdges(const RouterStatistics& statistics) {
  const std::int64_t experts = statistics.experts;
  std::vector<std::uint8_t> keep(At(experts * experts), 0);
  const std::int64_t neighbours = std::min(kNeighbours, experts - 1);
  for (std::int64_t e = 0; e < experts; ++e) {
    const double* row = statistics.correlation.data() + e * experts;
    std::vector<std::int64_t> order(At(experts));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int64_t a, std::int64_t b) { return row[a] > row[b]; });
    for (std::int64_t n = 0; n < neighbours; ++n) {
      keep[At(e * experts + order[At(n)])] = keep[At(order[At(n)] * experts + e)] = 1;
    }
  }
  std::vector<Edge> edges;
  for (std::int64_t u = 0; u < experts; ++u) {
    for (std::int64_t v = u + 1; v < experts; ++v) {
      const double weight = statistics.correlation[At(u * experts + v)];
      if (keep[At(u * experts + v)] != 0 && weight > 0) edges.push_back({At(u), At(v), weight});
    }
  }
  return edges;
}

// Solves A x = b for symmetric positive definite A [n, n] by L D L^T in place. Only the upper
// triangle is read; rows are eliminated by row operations, which vectorize.
void SolveSymmetric(std::vector<double>& a, std::vector<double>& b) {
  const std::size_t n = b.size();
  for (std::size_t k = 0; k < n; ++k) {
    const double* pivot_row = a.data() + k * n;
    for (std::size_t i = k + 1; i < n; ++i) {
      const double factor = pivot_row[i] / pivot_row[k];
      if (factor == 0) continue;
      double* row = a.data() + i * n;
      for (std::size_t j = i; j < n; ++j) row[j] -= factor * pivot_row[j];
      b[i] -= factor * b[k];
    }
  }
  for (std::size_t k = n; k-- > 0;) {
    const double* row = a.data() + k * n;
    for (std::size_t j = k + 1; j < n; ++j) b[k] -= row[j] * b[j];
    b[k] /= row[k];
  }
}

// Potentials of all experts when a current of 1 enters at `source` and leaves at `sink`.
std::vector<double> Potentials(const std::vector<Edge>& edges, std::size_t experts,
                               std::size_t source, std::size_t sink) {
  std::vector<double> laplacian(experts * experts, 0.0);
  for (std::size_t e = 0; e < experts; ++e) laplacian[e * experts + e] = kFloor;
  for (const Edge& edge : edges) {
    const double conductance = edge.conductance + kFloor;
    laplacian[edge.u * experts + edge.u] += conductance;
    laplacian[edge.v * experts + edge.v] += conductance;
    laplacian[edge.u * experts + edge.v] -= conductance;
  }
  std::vector<double> potential(experts, 0.0);
  potential[source] += 1;
  potential[sink] -= 1;
  SolveSymmetric(laplacian, potential);
  return potential;
}

void RelaxConductances(std::vector<Edge>& edges, std::size_t experts, std::uint64_t seed) {
  for (Edge& edge : edges) edge.conductance += kFloor;
  RandomStream random(seed);
  for (int iteration = 0; iteration < kIterations; ++iteration) {
    const auto source = static_cast<std::size_t>(random.Below(experts));
    const std::size_t sink = (source + experts / 2) % experts;
    const std::vector<double> potential = Potentials(edges, experts, source, sink);
    for (Edge& edge : edges) {
      const double flow =
          std::abs((edge.conductance + kFloor) * (potential[edge.u] - potential[edge.v])) + kFloor;
      const double growth = flow * std::sqrt(flow) + kFloor;  // flow ^ 1.5
      edge.conductance = (1 - kRelaxation) * edge.conductance + kRelaxation * growth;
    }
  }
}

RouterCorrelationResult GreedyStars(const std::vector<double>& coupling,
                                    const RouterStatistics& statistics) {
  const std::int64_t experts = statistics.experts;
  std::vector<std::int32_t> order(At(experts));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return statistics.usage[At(a)] > statistics.usage[At(b)];
  });
  RouterCorrelationResult result;
  std::vector<std::uint8_t> taken(At(experts), 0);
  std::int64_t covered = 0;
  for (const std::int32_t seed : order) {
    if (taken[At(seed)] != 0) continue;
    std::vector<std::int32_t> members{seed};
    taken[At(seed)] = 1;
    for (std::int32_t other = 0; other < static_cast<std::int32_t>(experts); ++other) {
      if (taken[At(other)] != 0 || coupling[At(seed * experts + other)] < kCoupling) continue;
      taken[At(other)] = 1;
      members.push_back(other);
    }
    if (members.size() < 2) continue;
    std::sort(members.begin(), members.end());
    covered += static_cast<std::int64_t>(members.size());
    result.rows_rewritten += static_cast<std::int64_t>(members.size()) - 1;
    result.groups.push_back(std::move(members));
  }
  std::sort(result.groups.begin(), result.groups.end());
  result.coverage = static_cast<double>(covered) / static_cast<double>(experts);
  return result;
}

}  // namespace

RouterStatistics MeasureRouter(const Matrix& logits, std::int64_t top_k) {
  const std::int64_t experts = logits.cols();
  const std::size_t tokens = At(logits.rows());
  CR_CHECK(tokens > 0 && top_k >= 1 && top_k <= experts, "{} tokens, top {} of {}", tokens, top_k,
           experts);
  RouterStatistics statistics;
  statistics.experts = experts;
  statistics.usage.assign(At(experts), 0);
  std::vector<std::int32_t> order(At(experts));
  for (std::int64_t t = 0; t < logits.rows(); ++t) {
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + top_k, order.end(),
                      [&](std::int32_t a, std::int32_t b) {
                        const float left = logits.at(t, a), right = logits.at(t, b);
                        return left != right ? left > right : a < b;
                      });
    for (std::int64_t n = 0; n < top_k; ++n) ++statistics.usage[At(order[At(n)])];
  }

  const std::vector<double> probabilities = ProbabilitiesByExpert(logits);
  const auto count = static_cast<double>(tokens);
  const auto row = [&](std::int64_t e) { return probabilities.data() + At(e) * tokens; };
  std::vector<double> mean(At(experts)), deviation(At(experts));
  for (std::int64_t e = 0; e < experts; ++e) {
    mean[At(e)] = std::accumulate(row(e), row(e) + tokens, 0.0) / count;
    const double variance = DotProduct(row(e), row(e), tokens) / count - mean[At(e)] * mean[At(e)];
    deviation[At(e)] = std::sqrt(std::max(variance, 1e-30));
  }
  statistics.correlation.assign(At(experts * experts), 0.0);
  ParallelFor(experts, [&](std::int64_t i) {
    for (std::int64_t j = i + 1; j < experts; ++j) {
      const double covariance =
          DotProduct(row(i), row(j), tokens) / count - mean[At(i)] * mean[At(j)];
      const double correlation = std::abs(covariance / (deviation[At(i)] * deviation[At(j)]));
      statistics.correlation[At(i * experts + j)] = correlation;
      statistics.correlation[At(j * experts + i)] = correlation;
    }
  });
  return statistics;
}

RouterCorrelationResult RouterCorrelationGroups(const RouterStatistics& statistics,
                                                std::uint64_t seed) {
  const std::size_t experts = At(statistics.experts);
  std::vector<Edge> edges = StrongestEdges(statistics);
  RelaxConductances(edges, experts, seed);
  std::vector<double> coupling(experts * experts, 0.0);
  for (const Edge& edge : edges) {
    coupling[edge.u * experts + edge.v] = coupling[edge.v * experts + edge.u] = edge.conductance;
  }
  for (std::size_t e = 0; e < experts; ++e) {
    const auto first = coupling.begin() + static_cast<std::ptrdiff_t>(e * experts);
    const double largest = *std::max_element(first, first + static_cast<std::ptrdiff_t>(experts));
    if (largest <= 0) continue;
    for (std::size_t other = 0; other < experts; ++other) coupling[e * experts + other] /= largest;
  }
  return GreedyStars(coupling, statistics);
}

RouterCorrelationResult RouterCorrelationGroups(const Matrix& logits, std::int64_t top_k,
                                                std::uint64_t seed) {
  return RouterCorrelationGroups(MeasureRouter(logits, top_k), seed);
}

Matrix GaussianLogits(std::int64_t tokens, std::int64_t experts, double sigma, std::uint64_t seed) {
  Matrix logits(tokens, experts);
  ParallelFor(tokens, [&](std::int64_t t) {
    for (std::int64_t e = 0; e < experts; ++e) {
      logits.at(t, e) =
          static_cast<float>(sigma * NormalAt(seed, static_cast<std::uint64_t>(t * experts + e)));
    }
  });
  return logits;
}

Matrix PermutedLogits(const Matrix& logits, std::uint64_t seed) {
  Matrix permuted(logits.rows(), logits.cols());
  ParallelFor(logits.cols(), [&](std::int64_t e) {
    RandomStream random(HashWords({seed, static_cast<std::uint64_t>(e)}));
    std::vector<std::int64_t> order(At(logits.rows()));
    std::iota(order.begin(), order.end(), 0);
    for (std::size_t n = order.size(); n > 1; --n) {
      std::swap(order[n - 1], order[static_cast<std::size_t>(random.Below(n))]);
    }
    for (std::int64_t t = 0; t < logits.rows(); ++t) permuted.at(t, e) = logits.at(order[At(t)], e);
  });
  return permuted;
}

}  // namespace cacheready
