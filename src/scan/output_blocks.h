// Experts run on the tokens they are needed for, a block of tokens at a time, so that the outputs
// fit a memory budget however many experts and tokens there are.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/model.h"

namespace cacheready {

// fp32 outputs of all experts on the needed tokens of one block.
struct OutputBlock {
  std::int32_t first_token = 0, end_token = 0;    // rows of x, a half-open range
  std::vector<std::vector<std::int32_t>> tokens;  // [experts]: ascending
  std::vector<Matrix> outputs;                    // [experts]: [tokens[e], hidden]

  bool Covers(std::int32_t token) const { return token >= first_token && token < end_token; }
  // Row of outputs[expert]. Requires: the token was needed from this expert and lies in the block.
  std::int64_t RowOf(std::int64_t expert, std::int32_t token) const;
  std::span<const float> Output(std::int64_t expert, std::int32_t token) const {
    return outputs[static_cast<std::size_t>(expert)].row(RowOf(expert, token));
  }
};

// Calls `visit` block by block, ascending in tokens; `needed` [experts] holds ascending rows of x.
// Blocks depend on `needed` and `budget_bytes` only; a single token may exceed the budget.
void ForEachOutputBlock(const MoeBlock& moe, const Matrix& x,
                        const std::vector<std::vector<std::int32_t>>& needed,
                        std::uint64_t budget_bytes,
                        const std::function<void(const OutputBlock&)>& visit,
                        Numerics numerics = Numerics::kFp32Chain);

}  // namespace cacheready
