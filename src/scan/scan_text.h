// The text of a scan: calibration documents, then the probe, in one batch.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/model.h"
#include "records/scan_record.h"
#include "text/documents.h"

namespace cacheready {

inline constexpr std::int64_t kProbeDocuments = 8;
inline constexpr std::int64_t kProbeDocumentTokens = 128;
inline constexpr std::int64_t kProbeUsedTokens = 32;  // the last ones of each: they have context

struct ScanText {
  TokenBatch batch;  // calibration documents of the part, then the probe documents
  ScanPart part;
  std::vector<ScannedDocument> documents;      // calibration only, of the part: rows of the batch
  std::vector<ScannedDocument> all_documents;  // calibration only, of all parts
  std::vector<ScannedDocument> probe_documents;
  std::int64_t tokens = 0;               // calibration tokens: batch rows [0, tokens)
  std::int64_t all_tokens = 0;           // of all parts
  std::vector<std::int32_t> probe_rows;  // batch rows of the used probe tokens, ascending
};

// SHA-256 (hex) of token ids as little-endian int32.
std::string IdsSha256(std::span<const std::int32_t> ids);

// Cuts the probe out of `documents` and samples the calibration text from the rest. The probe
// depends on the documents as a set only, never on the seed, the number of tokens or the part:
// domains in turn, within a domain by hash, the first min(128, half) tokens of a document; those
// tokens are not calibrated on. Fewer than 8 documents of 64 tokens give a smaller probe; none is
// an error. The list of calibration documents is fixed before it is split into parts.
ScanText PrepareScanText(std::vector<Document> documents, std::int64_t tokens,
                         std::int64_t document_tokens, std::uint64_t seed,
                         const ScanPart& part = {});

}  // namespace cacheready
