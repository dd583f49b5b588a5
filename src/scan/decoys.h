// The control of a scan: experts that are known to be no copies. A decoy is an expert with random
// noise on its weights, scaled until its outputs on the probe lie at twice the threshold; a method
// that calls it equivalent is refuted. Which experts and what scale depends on the probe only, so
// every part of a scan has the same decoys.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/model.h"
#include "records/scan_record.h"
#include "tensor/matrix.h"

namespace cacheready {

// What decoys are made of: numbers of the layer being scanned.
struct DecoySource {
  std::uint64_t seed = 0;
  std::int64_t layer = 0;
  double tolerance = 1;
  std::span<const double> noise;                            // [experts], RMS on probe_sample
  std::span<const std::vector<std::int32_t>> probe_sample;  // [experts]: rows that set the scale
  std::span<const ExpertSample> samples;                    // [experts]: rows that are measured
};

// Up to `count` experts by falling number of probe tokens that selected them (at least one), ties
// to the lowest index: those that occur in a candidate pair, or any where there is no such pair.
std::vector<std::int32_t> ChooseDecoyMembers(std::span<const PairRecord> pairs,
                                             std::span<const std::int64_t> probe_selections,
                                             std::int64_t count);

std::vector<DecoyRecord> MeasureDecoys(const MoeBlock& moe, const Matrix& x,
                                       std::span<const std::int32_t> members,
                                       const DecoySource& source);

}  // namespace cacheready
