// The rows that a group could share, in stored bytes and as the numbers that these bytes are.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "records/plan.h"
#include "records/scan_record.h"
#include "tensor/matrix.h"

namespace cacheready {

struct RowCandidate {
  std::string rule;               // "mean", "usage-weighted mean", "row of expert 12"
  std::vector<std::byte> weight;  // stored dtype
  std::vector<std::byte> logit_bias, selection_bias;  // one entry; empty where the router has none
  std::vector<float> weight_values;
  float logit_bias_value = 0, selection_bias_value = 0;
};

// Plain mean, mean weighted by `usage` (how often each member is selected; left out if all are 0)
// and each member's own row, biases with the same coefficients, rounded to the stored dtype; equal
// ones once. Fails on a dtype other than BF16, F16 and F32.
std::vector<RowCandidate> CandidateRows(const RouterRecord& router,
                                        std::span<const std::int32_t> members,
                                        std::span<const double> usage);

// Logits of candidate rows from the stored x, by the router's own dot product: [tokens, rows].
Matrix CandidateLogits(const Matrix& x, std::span<const RowCandidate> rows);

// What the plan says of the row: the tensors to write and the hashes of the rows replaced.
std::vector<PlannedTensor> PlannedTensors(const RouterRecord& router,
                                          std::span<const std::int32_t> members,
                                          const RowCandidate& row);

}  // namespace cacheready
