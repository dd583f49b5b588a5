// SPDX-License-Identifier: Apache-2.0
#include "planning/text_layout.h"

#include <algorithm>
#include <set>

#include "base/random.h"

namespace cacheready {

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
    layout.half_of.push_back(static_cast<std::uint8_t>(HashText(seed, documents[d].sha256) >> 63));
  }
  return layout;
}

}  // namespace cacheready
