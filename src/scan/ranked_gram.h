// What a plan needs to replay the routing of a layer exactly: x, and the inner products of the
// outputs of the best-ranked experts.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "model/model.h"
#include "records/scan_record.h"
#include "tensor/matrix.h"

namespace cacheready {

// Fills x, ranked, ranked_per_token and gram of `record` for the tokens [0, record.logits.rows()):
// the experts ranked 1 ... 2k (all, where there are fewer), then the gated shared part.
void RecordRankedGram(const MoeBlock& moe, const Matrix& x, std::uint64_t budget_bytes,
                      LayerRecord& record, Numerics numerics = Numerics::kFp32Chain);

// Upper triangle, row by row, of the inner products of `vectors` (equal lengths); fp64 sums in
// increasing index, as Dot() takes them.
void PackedGram(std::span<const std::span<const float>> vectors, double* packed);

}  // namespace cacheready
