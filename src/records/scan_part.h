// A scan in parts: which share of the documents a part holds. A whole scan is part 1 of 1.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "records/scan_record.h"

namespace cacheready {

inline constexpr std::int64_t kMostParts = 9999;

// Fails, naming `what`, unless 1 <= number <= of <= kMostParts.
void CheckPart(const ScanPart& part, std::string_view what);

std::string PartText(const ScanPart& part);    // "part 3 of 16"
std::string PartFolder(const ScanPart& part);  // "part-0003-of-0016"

// Documents [first, last) of `documents`, which lie one after the other from token 0: of T tokens,
// a document goes to the part in whose share of T / of tokens it begins. Parts are in order,
// disjoint and complete; one is empty where a long document reaches over its whole share.
struct DocumentRange {
  std::size_t first = 0, last = 0;
  std::int64_t first_token = 0, tokens = 0;
};
DocumentRange DocumentsOfPart(std::span<const ScannedDocument> documents, const ScanPart& part);

}  // namespace cacheready
