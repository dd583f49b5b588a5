// SPDX-License-Identifier: Apache-2.0
#include "measure/prefix_search.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <tuple>

#include "base/error.h"
#include "base/json.h"

namespace cacheready {
namespace {

constexpr std::size_t kBetween = 3;  // prefixes tried in the gap that the first pass leaves

double CostOf(const PlannedGroup& group) {
  const Json* cost = group.numbers.is_object() ? FindMember(group.numbers, "cost_taken") : nullptr;
  if (cost == nullptr) return std::numeric_limits<double>::infinity();
  return GetDouble(group.numbers, "cost_taken",
                   fmt::format("plan, layer {}: numbers of a group", group.layer));
}

}  // namespace

std::vector<std::size_t> OrderByCost(std::span<const PlannedGroup> groups) {
  using Key = std::tuple<double, std::int64_t, std::int32_t>;
  std::vector<Key> keys;
  for (const PlannedGroup& group : groups) {
    CR_CHECK(!group.members.empty(), "a group without members");
    keys.emplace_back(CostOf(group), group.layer, group.members.front());
  }
  std::vector<std::size_t> order(groups.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return keys[a] < keys[b]; });
  return order;
}

std::vector<std::size_t> FirstPrefixes(std::size_t groups) {
  std::vector<std::size_t> sizes;
  for (const std::size_t quarters : {4u, 3u, 2u, 1u}) {
    const std::size_t size = (groups * quarters + 3) / 4;
    if (size > 0 && (sizes.empty() || sizes.back() != size)) sizes.push_back(size);
  }
  return sizes;
}

std::vector<std::size_t> SecondPrefixes(std::size_t accepted, std::size_t refused) {
  CR_CHECK(accepted < refused, "{} groups accepted, {} refused", accepted, refused);
  const std::size_t gap = refused - accepted;
  const std::size_t between = std::min(kBetween, gap - 1);
  std::vector<std::size_t> sizes;
  for (std::size_t n = between; n > 0; --n) sizes.push_back(accepted + n * gap / (between + 1));
  if (accepted > 0) sizes.push_back(accepted);
  return sizes;
}

std::size_t FindLargestAccepted(std::size_t groups, const PrefixJudge& judge) {
  std::size_t accepted = 0, refused = groups + 1;
  const auto judge_all = [&](std::span<const std::size_t> sizes) {
    const std::vector<bool> verdicts = judge(sizes);
    CR_CHECK(verdicts.size() == sizes.size(), "{} verdicts on {} prefixes", verdicts.size(),
             sizes.size());
    accepted = 0;
    for (std::size_t n = 0; n < sizes.size() && accepted == 0; ++n) {
      (verdicts[n] ? accepted : refused) = sizes[n];
    }
  };
  if (groups == 0) return 0;
  judge_all(FirstPrefixes(groups));
  if (accepted == groups) return groups;
  const std::vector<std::size_t> second = SecondPrefixes(accepted, refused);
  if (!second.empty()) judge_all(second);
  return accepted;
}

}  // namespace cacheready
