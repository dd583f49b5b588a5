// By how much a layer's output moves on a token when the weights of some experts change: from what
// the scan recorded, without running an expert.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "records/scan_record.h"

namespace cacheready {

// Limits of the relative distance |f_i - f_j| / max(|f_i|, |f_j|) of two experts' outputs, for
// tokens on which they were not both run.
struct DistanceRange {
  double low = 0;
  double high = std::numeric_limits<double>::infinity();
};

// The ranges of all pairs; those that were not measured can be anything.
class OutputDistances {
 public:
  explicit OutputDistances(std::int64_t experts);
  void Set(std::int64_t i, std::int64_t j, const DistanceRange& range);
  const DistanceRange& At(std::int64_t i, std::int64_t j) const {
    return ranges_[static_cast<std::size_t>(i * experts_ + j)];
  }

 private:
  std::int64_t experts_;
  std::vector<DistanceRange> ranges_;
};

// How the change of a token's output is known.
enum class Knowledge : std::uint8_t {
  kExact,    // from the Gram matrix
  kStandIn,  // with measured distances in place of outputs that are not in the Gram matrix
  kBound,    // the triangle inequality alone
};

// The weight of one expert becomes larger by `change`.
struct WeightChange {
  std::int32_t expert = 0;
  double change = 0;
};

class OutputChange {
 public:
  // Requires record.ranked_per_token > 0. `record` and `distances` (may be null) must outlive this.
  OutputChange(const LayerRecord& record, std::int64_t experts, const OutputDistances* distances);

  // |sum_e change_e f_e|, or an upper estimate of it. Each expert occurs once.
  struct Norm {
    double value = 0;
    Knowledge known = Knowledge::kExact;
  };
  Norm Of(std::int64_t token, std::span<const WeightChange> changes) const;

 private:
  struct Part;
  Part PartOf(std::int64_t token, const WeightChange& change) const;
  double ProductAt(std::int64_t token, std::size_t a, std::size_t b) const;
  std::optional<double> FromDistances(std::int64_t token, std::span<const Part> parts) const;
  Norm FromTriangle(std::int64_t token, std::span<const Part> parts) const;

  const LayerRecord& record_;
  const OutputDistances* distances_;
  std::size_t ranked_, packed_;       // experts, and entries of the triangle, of a token
  std::vector<double> largest_norm_;  // [experts]: of outputs seen in the Gram matrices
};

}  // namespace cacheready
