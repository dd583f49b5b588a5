// The change is d = sum_e c_e f_e over the experts whose weight changes by c_e. As long as all of
// them rank among the first 2k, the Gram matrix gives |d|^2 = c^T G c exactly, at (2k)^2
// multiplications a token instead of an expert run.
//
// Tying pulls in experts from beyond rank 2k, of which a token's record holds no inner products.
// Two more ways, in this order:
//
// 1. Distances. For any vectors, |sum c_e f_e|^2 = C sum c_e |f_e|^2 - sum_{a<b} c_a c_b |f_a -
//    f_b|^2 with C = sum c_e, which is 0 where weights are renormalized. So pairwise distances are
//    enough, and the ones that the Gram matrix lacks were measured on other tokens: the upper limit
//    of their RMS is put in where an expert comes for another (c_a c_b < 0), the lower limit where
//    both come or both leave. Members of one family differ in directions of their own, so what
//    several of them bring in partly cancels; that is in the distances, and adding norms would
//    charge it many times over. A limit on the RMS is what a mean over tokens needs.
// 2. The triangle inequality. Where a pair was never measured, the nearest ranked expert stands in
//    for the missing one, and their distance is added; without one, the largest norm that the
//    expert ever showed.
// SPDX-License-Identifier: Apache-2.0
#include "planning/output_change.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "planning/numbers.h"

namespace cacheready {
namespace {

// c^T G c with the upper triangle of G [n, n] packed row by row; `c` may be shorter than n.
double QuadraticForm(std::span<const double> packed, std::size_t n, std::span<const double> c) {
  double sum = 0;
  std::size_t row = 0;
  for (std::size_t a = 0; a < c.size(); ++a) {
    if (c[a] != 0) {
      double cross = 0;
      for (std::size_t b = a + 1; b < c.size(); ++b) cross += c[b] * packed[row + b - a];
      sum += c[a] * (c[a] * packed[row] + 2 * cross);
    }
    row += n - a;
  }
  return std::max(sum, 0.0);
}

}  // namespace

OutputDistances::OutputDistances(std::int64_t experts)
    : experts_(experts), ranges_(static_cast<std::size_t>(experts * experts)) {}

void OutputDistances::Set(std::int64_t i, std::int64_t j, const DistanceRange& range) {
  ranges_[static_cast<std::size_t>(i * experts_ + j)] = range;
  ranges_[static_cast<std::size_t>(j * experts_ + i)] = range;
}

// An expert whose weight changes, and where its output is known from.
struct OutputChange::Part {
  std::int32_t expert;
  double change;
  std::size_t place;           // its rank, or that of its stand-in; = ranked_: neither
  bool inside;                 // it ranks itself
  double distance;             // to the stand-in, upper limit, below 1
  double low_norm, high_norm;  // of its output
};

OutputChange::OutputChange(const LayerRecord& record, std::int64_t experts,
                           const OutputDistances* distances)
    : record_(record),
      distances_(distances),
      ranked_(At(record.ranked_per_token)),
      packed_((ranked_ + 1) * (ranked_ + 2) / 2),
      largest_norm_(At(experts), 0.0) {
  CR_CHECK(ranked_ > 0, "layer {} has no candidates to replay", record.layer);
  double largest = 0;
  for (std::int64_t t = 0; t < record.logits.rows(); ++t) {
    for (std::size_t a = 0; a < ranked_; ++a) {
      double& norm = largest_norm_[At(record.ranked[At(t) * ranked_ + a])];
      norm = std::max(norm, std::sqrt(std::max(ProductAt(t, a, a), 0.0)));
      largest = std::max(largest, norm);
    }
  }
  // An expert that never ranked among the first 2k is bounded by the largest of all.
  for (double& norm : largest_norm_) {
    if (norm == 0) norm = largest;
  }
}

// Inner product of the outputs ranked a <= b.
double OutputChange::ProductAt(std::int64_t token, std::size_t a, std::size_t b) const {
  const std::size_t row = a == 0 ? 0 : a * (ranked_ + 1) - a * (a - 1) / 2;
  return record_.gram[At(token) * packed_ + row + b - a];
}

OutputChange::Part OutputChange::PartOf(std::int64_t token, const WeightChange& change) const {
  const std::span<const std::int32_t> ranked(record_.ranked.data() + At(token) * ranked_, ranked_);
  Part part{change.expert, change.change, ranked_, false, 1, 0, 0};
  const auto own = std::find(ranked.begin(), ranked.end(), change.expert);
  if (own != ranked.end()) {
    part.place = static_cast<std::size_t>(own - ranked.begin());
    part.inside = true;
    part.distance = 0;
  }
  for (std::size_t a = 0; !part.inside && distances_ != nullptr && a < ranked_; ++a) {
    const double d = distances_->At(change.expert, ranked[a]).high;
    if (d >= part.distance) continue;
    part.distance = d;
    part.place = a;
  }
  if (part.place == ranked_) return part;
  const double norm = std::sqrt(std::max(ProductAt(token, part.place, part.place), 0.0));
  part.low_norm = norm * (1 - part.distance);
  part.high_norm = norm / (1 - part.distance);
  return part;
}

OutputChange::Norm OutputChange::Of(std::int64_t token,
                                    std::span<const WeightChange> changes) const {
  std::vector<Part> parts;
  for (const WeightChange& change : changes) parts.push_back(PartOf(token, change));
  if (std::all_of(parts.begin(), parts.end(), [](const Part& part) { return part.inside; })) {
    return FromTriangle(token, parts);  // with nothing to add
  }
  const std::optional<double> norm = FromDistances(token, parts);
  return norm ? Norm{*norm, Knowledge::kStandIn} : FromTriangle(token, parts);
}

// Empty if a distance is missing.
std::optional<double> OutputChange::FromDistances(std::int64_t token,
                                                  std::span<const Part> parts) const {
  double total = 0;
  for (const Part& part : parts) {
    if (part.place == ranked_) return std::nullopt;
    total += part.change;
  }
  double square = 0;
  for (std::size_t a = 0; a < parts.size(); ++a) {
    const double own = total * parts[a].change;
    square += own * std::pow(own > 0 ? parts[a].high_norm : parts[a].low_norm, 2);
    for (std::size_t b = a + 1; b < parts.size(); ++b) {
      const double product = parts[a].change * parts[b].change;
      if (parts[a].inside && parts[b].inside) {
        const auto [low, high] = std::minmax(parts[a].place, parts[b].place);
        square -= product * (ProductAt(token, low, low) + ProductAt(token, high, high) -
                             2 * ProductAt(token, low, high));
        continue;
      }
      const DistanceRange& range = distances_->At(parts[a].expert, parts[b].expert);
      if (range.high == kInfinity) return std::nullopt;
      const double distance = product < 0
                                  ? range.high * std::max(parts[a].high_norm, parts[b].high_norm)
                                  : range.low * std::max(parts[a].low_norm, parts[b].low_norm);
      square -= product * distance * distance;
    }
  }
  return std::sqrt(std::max(square, 0.0));
}

OutputChange::Norm OutputChange::FromTriangle(std::int64_t token,
                                              std::span<const Part> parts) const {
  Norm norm;
  std::vector<double> change(ranked_, 0.0);
  double beyond = 0;
  for (const Part& part : parts) {
    if (part.place == ranked_) {
      norm.known = Knowledge::kBound;
      beyond += std::abs(part.change) * largest_norm_[At(part.expert)];
      continue;
    }
    change[part.place] += part.change;
    if (part.inside) continue;
    norm.known = std::max(norm.known, Knowledge::kStandIn);
    // |f - f'| <= d max(|f|, |f'|)
    beyond += std::abs(part.change) * part.distance * part.high_norm;
  }
  const std::span<const double> gram(record_.gram.data() + At(token) * packed_, packed_);
  norm.value = std::sqrt(QuadraticForm(gram, ranked_ + 1, change)) + beyond;
  return norm;
}

}  // namespace cacheready
