// Are two experts no farther apart than two renditions of one expert? The verdict on one pair, from
// the distances measured by the scan.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/router.h"
#include "planning/distance_limits.h"
#include "planning/output_change.h"
#include "planning/text_layout.h"
#include "records/scan_record.h"

namespace cacheready {

struct EvidenceRule {
  double tolerance = 1;
  std::int64_t min_tokens = 64;    // sampled, per side
  std::int64_t min_documents = 8;  // that they come from
  std::int64_t p99_tokens = 300;   // a side with fewer says nothing about p99
  int draws = 1000;
  std::uint64_t seed = 0;
};

// What each document is used for: choosing pairs, confirming them, or the tests over all tokens.
struct DocumentRoles {
  std::vector<std::uint8_t> selects, confirms, counts;  // [documents]
};
DocumentRoles SplitRoles(const TextLayout& text);           // choose on half 0, confirm on half 1
DocumentRoles HalfRoles(const TextLayout& text, int half);  // everything on one half

// Rendition noise of one expert, the unit of distance.
struct ExpertNoise {
  std::int64_t tokens = 0;
  Statistics3 nu;
};

// One layer's records, as the judgement of pairs needs them. Valid while its parts live.
struct EvidenceSource {
  const LayerRecord* record = nullptr;
  const TextLayout* text = nullptr;
  const Routing* routing = nullptr;        // fp32 pass over record->logits
  const Routing* probe_routing = nullptr;  // over record->probe_logits
  std::vector<ExpertNoise> noise;          // [experts]
};
std::vector<ExpertNoise> MeasureNoise(const LayerRecord& record);

enum class PairVerdict : std::uint8_t {
  kUnknown,     // too few tokens or documents
  kApart,       // not chosen: farther apart than the threshold on the choosing half
  kLost,        // chosen, but not confirmed
  kEquivalent,  // chosen and confirmed
};
std::string_view VerdictName(PairVerdict verdict);

struct PairEvidence {
  std::int32_t i = 0, j = 0;
  PairVerdict verdict = PairVerdict::kUnknown;
  double ratio = 0;        // largest limit over its threshold; infinity if unmeasured
  std::string decided_by;  // the test with that ratio: "rms on tokens of 3", "p95 in law", ...
  Statistics3 threshold;   // tolerance * sqrt(2) * smaller nu; p99 = 0: not tested
  std::array<DistanceLimits, 2> sides;   // confirming half; tokens of i, of j
  std::array<std::int64_t, 2> tokens{};  // sampled, all documents
  std::array<double, 2> contribution{};  // RMS of weight * |f_i - f_j| / |y|, all documents
  std::int64_t probe_tokens = 0;         // that selected neither
  double probe_rms = 0;
  std::vector<std::string> untested_domains;  // fewer than min_tokens on a side
};

PairEvidence JudgePair(const EvidenceSource& source, const DocumentRoles& roles,
                       const EvidenceRule& rule, const PairRecord& pair);

// How far apart two experts are, whatever was decided about them: limits of the RMS over all
// documents, widened to hold the probe and each side that has half the tokens and documents that
// evidence needs. Anything is possible if neither says enough.
DistanceRange RangeOf(const EvidenceSource& source, const EvidenceRule& rule,
                      const PairRecord& pair);

// Whether an expert has enough sampled tokens for any pair to be judged.
bool HasEvidence(const EvidenceSource& source, const EvidenceRule& rule, std::int64_t expert);

// Limits of a decoy against its expert's own threshold, on all documents: the largest limit over
// threshold. Infinity if it has too little evidence.
double DecoyRatio(const EvidenceSource& source, const EvidenceRule& rule, const DecoyRecord& decoy);

}  // namespace cacheready
