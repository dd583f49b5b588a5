// SPDX-License-Identifier: Apache-2.0
#include "planning/text_layout.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <string_view>
#include <tuple>

#include "base/random.h"

namespace cacheready {
namespace {

// Documents are sampled by a hash of the same seed and text, so those of a scan have the smallest
// hashes of all: halves need another one.
constexpr std::uint64_t kHalves = 0x68616c766573ULL;  // "halves"

// Every other document by hash, within each domain: both halves know all domains.
std::vector<std::uint8_t> Halve(std::span<const ScannedDocument> documents, std::uint64_t seed) {
  std::vector<std::size_t> order(documents.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto rank = [&](std::size_t d) {
    return std::tuple(std::string_view(documents[d].domain),
                      HashText(HashWords({seed, kHalves}), documents[d].sha256), d);
  };
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return rank(a) < rank(b); });
  std::vector<std::uint8_t> half(documents.size());
  for (std::size_t n = 0; n < order.size(); ++n) half[order[n]] = n % 2;
  return half;
}

}  // namespace

TextLayout MakeTextLayout(std::span<const ScannedDocument> documents, std::uint64_t seed) {
  TextLayout layout;
  std::set<std::string> names;
  for (const ScannedDocument& document : documents) names.insert(document.domain);
  layout.domains.assign(names.begin(), names.end());
  for (std::size_t d = 0; d < documents.size(); ++d) {
    layout.document_of.insert(layout.document_of.end(),
                              static_cast<std::size_t>(documents[d].tokens),
                              static_cast<std::int32_t>(d));
    const auto domain =
        std::lower_bound(layout.domains.begin(), layout.domains.end(), documents[d].domain);
    layout.domain_of.push_back(static_cast<std::int32_t>(domain - layout.domains.begin()));
  }
  layout.half_of = Halve(documents, seed);
  return layout;
}

}  // namespace cacheready
