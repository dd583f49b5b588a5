// SPDX-License-Identifier: Apache-2.0
#include "model/weight_use.h"

#include <algorithm>

namespace cacheready {
namespace {

// Slice e of n equal ones.
ImageRange SliceOf(const ImageRange& tensor, std::int64_t e, std::int64_t n) {
  const std::uint64_t slice = (tensor.end - tensor.begin) / static_cast<std::uint64_t>(n);
  const std::uint64_t begin = tensor.begin + slice * static_cast<std::uint64_t>(e);
  return {tensor.file, begin, begin + slice};
}

}  // namespace

PartRanges WeightUse::Ranges(const Checkpoint& checkpoint) const {
  std::vector<std::pair<const TensorView*, std::int64_t>> uses = tensors_;
  std::sort(uses.begin(), uses.end());
  uses.erase(std::unique(uses.begin(), uses.end()), uses.end());
  std::int64_t experts = 0;
  for (const auto& [tensor, expert] : uses) experts = std::max(experts, expert + 1);

  std::vector<ImageRange> common;
  std::vector<std::vector<ImageRange>> of_expert(static_cast<std::size_t>(experts));
  for (auto first = uses.begin(); first != uses.end();) {
    const TensorView& tensor = *first->first;
    const auto last =
        std::find_if(first, uses.end(), [&](const auto& use) { return use.first != &tensor; });
    if (first->second < 0 && last - first > 1) ++first;  // looked at before it was sliced
    const ImageRange range = checkpoint.RangeOf(tensor);
    const bool is_fused = !tensor.shape.empty() && tensor.shape.front() == experts &&
                          tensor.bytes.size() % static_cast<std::size_t>(experts) == 0;
    if (first->second < 0 || (last - first > 1 && !is_fused)) {
      common.push_back(range);
    } else if (last - first == 1) {
      of_expert[static_cast<std::size_t>(first->second)].push_back(range);
    } else {
      for (auto use = first; use != last; ++use) {
        of_expert[static_cast<std::size_t>(use->second)].push_back(
            SliceOf(range, use->second, experts));
      }
    }
    first = last;
  }
  PartRanges ranges{MergeRanges(std::move(common)), {}};
  for (auto& each : of_expert) ranges.experts.push_back(MergeRanges(std::move(each)));
  return ranges;
}

}  // namespace cacheready
