// SPDX-License-Identifier: Apache-2.0
#include "scan/output_blocks.h"

#include <algorithm>

#include "base/error.h"
#include "model/expert_pass.h"

namespace cacheready {
namespace {

// Ends of the blocks (exclusive), ascending; the last is the number of rows.
std::vector<std::int32_t> BlockEnds(const std::vector<std::vector<std::int32_t>>& needed,
                                    std::int64_t rows, std::uint64_t outputs_per_block) {
  std::vector<std::uint64_t> outputs(static_cast<std::size_t>(rows), 0);
  for (const auto& tokens : needed) {
    for (const std::int32_t t : tokens) ++outputs[static_cast<std::size_t>(t)];
  }
  std::vector<std::int32_t> ends;
  std::uint64_t held = 0;
  for (std::int64_t t = 0; t < rows; ++t) {
    const std::uint64_t more = outputs[static_cast<std::size_t>(t)];
    if (held > 0 && held + more > outputs_per_block) {
      ends.push_back(static_cast<std::int32_t>(t));
      held = 0;
    }
    held += more;
  }
  if (held > 0) ends.push_back(static_cast<std::int32_t>(rows));
  return ends;
}

}  // namespace

std::int64_t OutputBlock::RowOf(std::int64_t expert, std::int32_t token) const {
  const auto& rows = tokens[static_cast<std::size_t>(expert)];
  const auto found = std::lower_bound(rows.begin(), rows.end(), token);
  CR_CHECK(found != rows.end() && *found == token, "expert {} was not run on token {}", expert,
           token);
  return found - rows.begin();
}

void ForEachOutputBlock(const MoeBlock& moe, const Matrix& x,
                        const std::vector<std::vector<std::int32_t>>& needed,
                        std::uint64_t budget_bytes,
                        const std::function<void(const OutputBlock&)>& visit, Numerics numerics) {
  const std::uint64_t output_bytes = static_cast<std::uint64_t>(x.cols()) * sizeof(float);
  std::int32_t begin = 0;
  for (const std::int32_t end : BlockEnds(needed, x.rows(), budget_bytes / output_bytes)) {
    OutputBlock block;
    block.first_token = begin;
    block.end_token = end;
    block.tokens.resize(needed.size());
    block.outputs.resize(needed.size());
    for (std::size_t e = 0; e < needed.size(); ++e) {
      const auto first = std::lower_bound(needed[e].begin(), needed[e].end(), begin);
      block.tokens[e].assign(first, std::lower_bound(first, needed[e].end(), end));
    }
    ForEachExpertWithRows(moe, block.tokens, [&](std::int32_t expert) {
      const auto e = static_cast<std::size_t>(expert);
      block.outputs[e] = RunExpert(Fp32Arithmetic(numerics), moe, expert, x, block.tokens[e]);
    });
    visit(block);
    begin = end;
  }
}

}  // namespace cacheready
