// Outputs of pairs of experts compared token by token.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/model.h"
#include "records/scan_record.h"
#include "scan/candidates.h"
#include "scan/probe.h"
#include "tensor/matrix.h"

namespace cacheready {

// A pair to measure on the first `tokens` sampled tokens of each side.
struct PairRequest {
  ExpertPair pair;
  bool candidate = false;
  std::int64_t tokens = 0;
};

struct PairTokens {
  std::span<const ExpertSample> samples;     // [experts]
  std::span<const std::int32_t> probe_rows;  // rows of x, ascending
  const PairSums* probe = nullptr;           // of all pairs on probe_rows
};

// One record a request, in order: exact differences on the samples of both sides, and on the probe
// for candidates. What the probe has of other pairs, which are far, is exact enough.
std::vector<PairRecord> MeasurePairs(const MoeBlock& moe, const Matrix& x,
                                     std::span<const PairRequest> requests,
                                     const PairTokens& tokens, std::uint64_t budget_bytes,
                                     Numerics numerics = Numerics::kFp32Chain);

}  // namespace cacheready
