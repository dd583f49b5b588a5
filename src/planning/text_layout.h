// Which document, domain and half of the text a token belongs to.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "records/scan_record.h"

namespace cacheready {

struct TextLayout {
  std::vector<std::int32_t> document_of;  // [tokens]
  std::vector<std::int32_t> domain_of;    // [documents], index into domains
  std::vector<std::string> domains;       // ascending names
  std::vector<std::uint8_t> half_of;      // [documents], 0 or 1, in turn by hash in each domain

  std::int64_t tokens() const { return static_cast<std::int64_t>(document_of.size()); }
  std::size_t documents() const { return half_of.size(); }
};

TextLayout MakeTextLayout(std::span<const ScannedDocument> documents, std::uint64_t seed);

}  // namespace cacheready
