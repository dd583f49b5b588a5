// SPDX-License-Identifier: Apache-2.0
#include "measure/selections.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"

namespace cacheready {
namespace {

// The classes of one layer: an expert of no group is a class of its own.
class Classes {
 public:
  explicit Classes(const std::vector<std::vector<std::int32_t>>& groups) {
    for (const auto& members : groups) {
      for (const std::int32_t member : members) class_of_[member] = members.front();
    }
  }
  bool IsGrouped(std::int32_t expert) const { return class_of_.contains(expert); }
  std::vector<std::int32_t> Sorted(std::span<const std::int32_t> ids) const {
    std::vector<std::int32_t> classes;
    for (const std::int32_t id : ids) {
      const auto found = class_of_.find(id);
      classes.push_back(found == class_of_.end() ? id : found->second);
    }
    std::sort(classes.begin(), classes.end());
    return classes;
  }

 private:
  std::map<std::int32_t, std::int32_t> class_of_;  // grouped experts: first member
};

void Classify(std::span<const std::int32_t> a, std::span<const std::int32_t> b,
              const Classes& classes, SelectionFlips& flips) {
  std::vector<std::int32_t> moved;  // experts that only one of the two selected
  std::set_symmetric_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(moved));
  const auto grouped = [&](std::int32_t expert) { return classes.IsGrouped(expert); };
  if (classes.Sorted(a) == classes.Sorted(b)) {
    ++flips.within;
  } else if (std::any_of(moved.begin(), moved.end(), grouped)) {
    ++flips.across;
  } else {
    ++flips.singleton;
  }
}

std::span<const std::int32_t> IdsOf(const LayerSelections& layer, std::size_t token) {
  const auto top_k = static_cast<std::size_t>(layer.top_k);
  return std::span(layer.ids).subspan(token * top_k, top_k);
}

std::size_t TokensOf(const LayerSelections& layer) {
  return layer.ids.size() / static_cast<std::size_t>(layer.top_k);
}

}  // namespace

LayerSelections SelectionsOf(std::int64_t layer, const Routing& routing) {
  LayerSelections selections{layer, routing.top_k, routing.ids};
  for (auto begin = selections.ids.begin(); begin != selections.ids.end(); begin += routing.top_k) {
    std::sort(begin, begin + routing.top_k);
  }
  return selections;
}

GroupsByLayer MembersByLayer(std::span<const PlannedGroup> groups) {
  GroupsByLayer members;
  for (const PlannedGroup& group : groups) members[group.layer].push_back(group.members);
  return members;
}

double SelectionFlips::share() const {
  const double all = static_cast<double>(tokens) * static_cast<double>(by_layer.size());
  return all == 0 ? 0.0 : static_cast<double>(total) / all;
}

SelectionFlips CompareSelections(const Selections& reference, const Selections& other,
                                 const GroupsByLayer& groups) {
  CR_CHECK(reference.size() == other.size(), "{} and {} layers", reference.size(), other.size());
  SelectionFlips flips;
  flips.by_layer.resize(reference.size());
  for (std::size_t n = 0; n < reference.size(); ++n) {
    const LayerSelections &a = reference[n], &b = other[n];
    CR_CHECK(a.layer == b.layer && a.top_k == b.top_k && a.ids.size() == b.ids.size(),
             "layers {} and {} with {} and {} selections", a.layer, b.layer, a.ids.size(),
             b.ids.size());
    const auto found = groups.find(a.layer);
    const Classes classes(found == groups.end() ? GroupsByLayer::mapped_type() : found->second);
    const std::size_t tokens = TokensOf(a);
    flips.by_token.resize(tokens);
    flips.tokens = static_cast<std::int64_t>(tokens);
    for (std::size_t t = 0; t < tokens; ++t) {
      if (std::ranges::equal(IdsOf(a, t), IdsOf(b, t))) continue;
      ++flips.total;
      ++flips.by_layer[n];
      ++flips.by_token[t];
      Classify(IdsOf(a, t), IdsOf(b, t), classes, flips);
    }
  }
  return flips;
}

}  // namespace cacheready
