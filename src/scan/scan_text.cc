// SPDX-License-Identifier: Apache-2.0
#include "scan/scan_text.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "base/random.h"
#include "records/scan_part.h"

namespace cacheready {
namespace {

constexpr std::uint64_t kProbeSeed = 0x70726f6265ULL;  // "probe": fixed for every run
constexpr std::size_t kShortestProbeSource = 64;       // half of it is a probe of 32 tokens

// Indices of the documents the probe is cut from: one domain after the other, each domain's by
// whether they are long enough for a full probe document, then by hash.
std::vector<std::size_t> ChooseProbeSources(const std::vector<Document>& documents) {
  using Rank = std::tuple<bool, std::uint64_t, std::string, std::size_t>;
  std::map<std::string, std::vector<Rank>> domains;
  for (std::size_t d = 0; d < documents.size(); ++d) {
    const Document& document = documents[d];
    if (document.ids.size() < kShortestProbeSource) continue;
    const bool is_short = document.ids.size() < 2 * kProbeDocumentTokens;
    domains[document.domain].emplace_back(is_short, HashText(kProbeSeed, document.sha256),
                                          document.sha256, d);
  }
  for (auto& [domain, ranks] : domains) std::sort(ranks.begin(), ranks.end());
  std::vector<std::size_t> chosen;
  for (std::size_t round = 0;; ++round) {
    bool any = false;
    for (const auto& [domain, ranks] : domains) {
      if (round >= ranks.size()) continue;
      any = true;
      if (chosen.size() < kProbeDocuments) chosen.push_back(std::get<3>(ranks[round]));
    }
    if (!any || chosen.size() == kProbeDocuments) return chosen;
  }
}

// The first tokens of `document` become a probe document; it keeps the rest.
Document CutProbe(Document& document) {
  const std::int64_t half = static_cast<std::int64_t>(document.ids.size()) / 2;
  const auto middle = document.ids.begin() + std::min(kProbeDocumentTokens, half);
  Document probe;
  probe.domain = document.domain;
  probe.line = document.line;
  probe.ids.assign(document.ids.begin(), middle);
  probe.sha256 = IdsSha256(probe.ids);
  document.ids.erase(document.ids.begin(), middle);
  document.sha256 = IdsSha256(document.ids);
  return probe;
}

void DropRepeats(std::vector<Document>& documents) {
  std::set<std::string> seen;
  std::erase_if(documents, [&](const Document& d) { return !seen.insert(d.sha256).second; });
}

ScannedDocument Describe(const Document& document, std::int64_t first_token) {
  return {document.sha256, document.domain, first_token,
          static_cast<std::int64_t>(document.ids.size())};
}

ScannedDocument Append(const Document& document, TokenBatch& batch) {
  ScannedDocument scanned = Describe(document, batch.tokens());
  batch.ids.insert(batch.ids.end(), document.ids.begin(), document.ids.end());
  batch.bounds.push_back(batch.tokens());
  return scanned;
}

}  // namespace

std::string IdsSha256(std::span<const std::int32_t> ids) {
  std::vector<std::byte> bytes;
  bytes.reserve(ids.size() * 4);
  for (const std::int32_t id : ids) {
    const auto word = static_cast<std::uint32_t>(id);
    for (int shift = 0; shift < 32; shift += 8) {
      bytes.push_back(static_cast<std::byte>((word >> shift) & 0xFF));
    }
  }
  return Sha256Hex(bytes);
}

ScanText PrepareScanText(std::vector<Document> documents, std::int64_t tokens,
                         std::int64_t document_tokens, std::uint64_t seed, const ScanPart& part) {
  if (tokens < 1) Fail("scan: --tokens is {}, expected at least 1", tokens);
  if (document_tokens < 1) {
    Fail("scan: --document-tokens is {}, expected at least 1", document_tokens);
  }
  std::erase_if(documents, [](const Document& d) { return d.ids.empty(); });
  // The result must not depend on the order of the lines or on a line given twice.
  std::sort(documents.begin(), documents.end(), [](const Document& a, const Document& b) {
    return std::pair(a.sha256, a.domain) < std::pair(b.sha256, b.domain);
  });
  DropRepeats(documents);

  std::vector<Document> probes;
  for (const std::size_t d : ChooseProbeSources(documents))
    probes.push_back(CutProbe(documents[d]));
  if (probes.empty()) {
    Fail(
        "scan: no calibration document has {} tokens or more, so there is no text for the probe; "
        "give longer documents",
        kShortestProbeSource);
  }
  for (Document& document : documents) {
    if (static_cast<std::int64_t>(document.ids.size()) <= document_tokens) continue;
    document.ids.resize(static_cast<std::size_t>(document_tokens));
    document.sha256 = IdsSha256(document.ids);
  }
  DropRepeats(documents);  // equal after the cut: the same text twice would count as two documents

  ScanText text;
  text.part = part;
  const std::vector<Document> sampled = SampleDocuments(std::move(documents), tokens, seed);
  for (const Document& document : sampled) {
    text.all_documents.push_back(Describe(document, text.all_tokens));
    text.all_tokens += text.all_documents.back().tokens;
  }
  const DocumentRange range = DocumentsOfPart(text.all_documents, part);
  for (std::size_t d = range.first; d < range.last; ++d) {
    text.documents.push_back(Append(sampled[d], text.batch));
  }
  text.tokens = text.batch.tokens();
  for (const Document& probe : probes) {
    text.probe_documents.push_back(Append(probe, text.batch));
    const std::int64_t end = text.batch.tokens();
    const auto length = static_cast<std::int64_t>(probe.ids.size());
    for (std::int64_t t = end - std::min(kProbeUsedTokens, length); t < end; ++t) {
      text.probe_rows.push_back(static_cast<std::int32_t>(t));
    }
  }
  return text;
}

}  // namespace cacheready
