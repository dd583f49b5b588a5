// SPDX-License-Identifier: Apache-2.0
#include "records/scan_part.h"

#include "base/error.h"

namespace cacheready {

void CheckPart(const ScanPart& part, std::string_view what) {
  if (part.number >= 1 && part.number <= part.of && part.of <= kMostParts) return;
  Fail("{}: part {} of {}, expected a part from 1 on, of at most {}", what, part.number, part.of,
       kMostParts);
}

std::string PartText(const ScanPart& part) {
  return fmt::format("part {} of {}", part.number, part.of);
}

std::string PartFolder(const ScanPart& part) {
  return fmt::format("part-{:04}-of-{:04}", part.number, part.of);
}

DocumentRange DocumentsOfPart(std::span<const ScannedDocument> documents, const ScanPart& part) {
  const std::int64_t all =
      documents.empty() ? 0 : documents.back().first_token + documents.back().tokens;
  DocumentRange range;
  for (const ScannedDocument& document : documents) {
    const std::int64_t number = 1 + document.first_token * part.of / all;
    if (number < part.number) {
      ++range.first;
      range.first_token += document.tokens;
    } else if (number == part.number) {
      range.tokens += document.tokens;
    }
    if (number <= part.number) ++range.last;
  }
  return range;
}

}  // namespace cacheready
