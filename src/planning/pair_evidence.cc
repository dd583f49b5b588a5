// The rule, in the order in which it is applied to a pair:
//
//   1. Evidence. Each side (tokens that selected i; tokens that selected j) needs min_tokens from
//      min_documents, and half of that in either half of the documents. Otherwise "unknown".
//   2. Choice on one half, by the plain statistics: RMS and p95 of |f_i - f_j| / max(|f_i|, |f_j|)
//      at most tolerance * sqrt(2) * the smaller nu. Pairs that fail are "apart".
//   3. Confirmation on the other half, by upper limits: who looks close by chance among thousands
//      of pairs does not look close again. The limits of p99 (sides of 300 tokens, which a half
//      rarely has) and of each domain are taken over all documents.
//   4. The probe tokens that selected neither: within twice the bound. Copies agree everywhere, a
//      coincidence on the routed tokens does not.
//
// Both sides count, so the ratio of a pair is its largest limit over its threshold: one number that
// linkage can use, at most 1 exactly when all tests pass.
// SPDX-License-Identifier: Apache-2.0
#include "planning/pair_evidence.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "base/statistics.h"
#include "planning/numbers.h"

namespace cacheready {
namespace {

constexpr double kProbeFactor = 2.0;

double RatioTo(double value, double threshold) {
  if (value == 0) return 0;
  return threshold == 0 ? kInfinity : value / threshold;
}

// r_ij(t), 0 if both outputs are exactly 0.
double Relative(float difference, float larger_norm) {
  return difference == 0 ? 0.0 : static_cast<double>(difference) / static_cast<double>(larger_norm);
}

using SideValues = std::array<TokenDistances, 2>;

// Distances of one side on the documents that `role` marks.
TokenDistances DistancesOf(const TextLayout& text, const std::vector<std::uint8_t>& role,
                           const ExpertSample& sample, const std::vector<float>& difference,
                           const std::vector<float>& larger_norm) {
  TokenDistances distances;
  for (std::size_t n = 0; n < difference.size(); ++n) {
    const std::int32_t document = text.document_of[static_cast<std::size_t>(sample.tokens[n])];
    if (role[static_cast<std::size_t>(document)] == 0) continue;
    distances.Add(Relative(difference[n], larger_norm[n]), document);
  }
  return distances;
}

SideValues BothSides(const EvidenceSource& source, const std::vector<std::uint8_t>& role,
                     const PairRecord& pair) {
  const auto& samples = source.record->samples;
  return {DistancesOf(*source.text, role, samples[static_cast<std::size_t>(pair.i)],
                      pair.difference_on_i, pair.larger_norm_on_i),
          DistancesOf(*source.text, role, samples[static_cast<std::size_t>(pair.j)],
                      pair.difference_on_j, pair.larger_norm_on_j)};
}

bool Enough(const TokenDistances& side, const EvidenceRule& rule) {
  return side.tokens() >= rule.min_tokens && side.CountDocuments() >= rule.min_documents;
}

bool EnoughOfHalf(const TokenDistances& side, const EvidenceRule& rule) {
  return side.tokens() >= rule.min_tokens / 2 && side.CountDocuments() >= rule.min_documents / 2;
}

// Keeps the largest ratio seen and what it was.
void Weigh(PairEvidence& evidence, double ratio, const std::string& test) {
  if (evidence.decided_by.empty() || ratio > evidence.ratio) {
    evidence.ratio = ratio;
    evidence.decided_by = test;
  }
}

Statistics3 ThresholdOf(const EvidenceSource& source, const EvidenceRule& rule,
                        const PairRecord& pair) {
  const ExpertNoise& a = source.noise[static_cast<std::size_t>(pair.i)];
  const ExpertNoise& b = source.noise[static_cast<std::size_t>(pair.j)];
  const double scale = rule.tolerance * std::sqrt(2.0);
  Statistics3 threshold{scale * std::min(a.nu.rms, b.nu.rms), scale * std::min(a.nu.p95, b.nu.p95),
                        0};
  // An expert with few tokens has no p99; then the other one's is the unit.
  double p99 = kInfinity;
  if (a.tokens >= rule.p99_tokens) p99 = std::min(p99, a.nu.p99);
  if (b.tokens >= rule.p99_tokens) p99 = std::min(p99, b.nu.p99);
  if (p99 < kInfinity) threshold.p99 = scale * p99;
  return threshold;
}

std::uint64_t SeedOf(const EvidenceSource& source, const EvidenceRule& rule, const PairRecord& pair,
                     std::uint64_t test) {
  return HashWords({rule.seed, static_cast<std::uint64_t>(source.record->layer),
                    static_cast<std::uint64_t>(pair.i), static_cast<std::uint64_t>(pair.j), test});
}

// RMS and p95 of both sides; returns the limits.
std::array<DistanceLimits, 2> WeighSides(const SideValues& sides, const EvidenceRule& rule,
                                         std::uint64_t seed, const std::string& where,
                                         PairEvidence& evidence) {
  std::array<DistanceLimits, 2> limits;
  const std::array<std::int32_t, 2> experts{evidence.i, evidence.j};
  for (std::size_t s = 0; s < 2; ++s) {
    limits[s] = MeasureLimits(sides[s], rule.draws, HashWords({seed, s}));
    const std::string place = fmt::format("on tokens of {}{}", experts[s], where);
    Weigh(evidence, RatioTo(limits[s].upper.rms, evidence.threshold.rms), "rms " + place);
    Weigh(evidence, RatioTo(limits[s].upper.p95, evidence.threshold.p95), "p95 " + place);
  }
  return limits;
}

void WeighTails(const SideValues& sides, const EvidenceRule& rule, std::uint64_t seed,
                PairEvidence& evidence) {
  const std::array<std::int32_t, 2> experts{evidence.i, evidence.j};
  bool tested = false;
  for (std::size_t s = 0; s < 2; ++s) {
    if (sides[s].tokens() < rule.p99_tokens || evidence.threshold.p99 == kInfinity) continue;
    const DistanceLimits limits = MeasureLimits(sides[s], rule.draws, HashWords({seed, s}));
    Weigh(evidence, RatioTo(limits.upper.p99, evidence.threshold.p99),
          fmt::format("p99 on tokens of {}", experts[s]));
    tested = true;
  }
  if (!tested) evidence.threshold.p99 = 0;
}

TokenDistances InDomain(const TextLayout& text, const TokenDistances& distances,
                        std::int32_t domain) {
  TokenDistances chosen;
  for (std::size_t n = 0; n < distances.values.size(); ++n) {
    const auto document = static_cast<std::size_t>(distances.documents[n]);
    if (text.domain_of[document] == domain) {
      chosen.Add(distances.values[n], distances.documents[n]);
    }
  }
  return chosen;
}

void WeighDomains(const EvidenceSource& source, const SideValues& sides, const EvidenceRule& rule,
                  std::uint64_t seed, PairEvidence& evidence) {
  const TextLayout& text = *source.text;
  if (text.domains.size() < 2) return;  // one domain is the text itself
  for (std::size_t d = 0; d < text.domains.size(); ++d) {
    const auto domain = static_cast<std::int32_t>(d);
    const SideValues inside{InDomain(text, sides[0], domain), InDomain(text, sides[1], domain)};
    if (inside[0].tokens() < rule.min_tokens || inside[1].tokens() < rule.min_tokens) {
      evidence.untested_domains.push_back(text.domains[d]);
      continue;
    }
    WeighSides(inside, rule, HashWords({seed, d}), fmt::format(" in {}", text.domains[d]),
               evidence);
  }
}

void WeighProbe(const EvidenceSource& source, const PairRecord& pair, PairEvidence& evidence) {
  double squares = 0;
  for (std::size_t t = 0; t < pair.probe_distance.size(); ++t) {
    const auto ids = source.probe_routing->ids_of(static_cast<std::int64_t>(t));
    const bool selected = std::any_of(ids.begin(), ids.end(),
                                      [&](std::int32_t e) { return e == pair.i || e == pair.j; });
    if (selected) continue;
    const auto r = static_cast<double>(pair.probe_distance[t]);
    squares += r * r;
    ++evidence.probe_tokens;
  }
  if (evidence.probe_tokens == 0) return;
  evidence.probe_rms = std::sqrt(squares / static_cast<double>(evidence.probe_tokens));
  Weigh(evidence, RatioTo(evidence.probe_rms, kProbeFactor * evidence.threshold.rms),
        "rms on probe tokens of neither");
}

// RMS over the side's tokens of weight * |f_i - f_j| / |y|: what a swap does to the layer.
double ContributionOf(const EvidenceSource& source, std::int32_t expert,
                      const std::vector<float>& difference) {
  const auto& tokens = source.record->samples[static_cast<std::size_t>(expert)].tokens;
  double squares = 0;
  for (std::size_t n = 0; n < difference.size(); ++n) {
    const std::int32_t t = tokens[n];
    const auto ids = source.routing->ids_of(t);
    const auto place = std::find(ids.begin(), ids.end(), expert);
    const auto y = static_cast<double>(source.record->y_norm[static_cast<std::size_t>(t)]);
    if (place == ids.end() || y == 0) continue;
    const float weight =
        source.routing->weights_of(t)[static_cast<std::size_t>(place - ids.begin())];
    const double part = static_cast<double>(weight) * static_cast<double>(difference[n]) / y;
    squares += part * part;
  }
  return difference.empty() ? 0 : std::sqrt(squares / static_cast<double>(difference.size()));
}

bool CloseOnChoosingHalf(const SideValues& sides, const Statistics3& threshold) {
  return std::all_of(sides.begin(), sides.end(), [&](const TokenDistances& side) {
    const Statistics3 observed = Measure(side);
    return observed.rms <= threshold.rms && observed.p95 <= threshold.p95;
  });
}

}  // namespace

std::string_view VerdictName(PairVerdict verdict) {
  switch (verdict) {
    case PairVerdict::kUnknown:
      return "unknown";
    case PairVerdict::kApart:
      return "apart";
    case PairVerdict::kLost:
      return "lost at confirmation";
    case PairVerdict::kEquivalent:
      return "equivalent";
  }
  CR_CHECK(false, "verdict {}", static_cast<int>(verdict));
}

DocumentRoles SplitRoles(const TextLayout& text) {
  DocumentRoles roles;
  for (const std::uint8_t half : text.half_of) {
    roles.selects.push_back(half == 0);
    roles.confirms.push_back(half == 1);
    roles.counts.push_back(1);
  }
  return roles;
}

DocumentRoles HalfRoles(const TextLayout& text, int half) {
  DocumentRoles roles;
  for (const std::uint8_t h : text.half_of) roles.counts.push_back(h == half);
  roles.selects = roles.confirms = roles.counts;
  return roles;
}

std::vector<ExpertNoise> MeasureNoise(const LayerRecord& record) {
  std::vector<ExpertNoise> noise;
  for (const ExpertSample& sample : record.samples) {
    TokenDistances values;
    for (const float nu : sample.noise) values.Add(static_cast<double>(nu), 0);
    noise.push_back({values.tokens(), Measure(values)});
  }
  return noise;
}

PairEvidence JudgePair(const EvidenceSource& source, const DocumentRoles& roles,
                       const EvidenceRule& rule, const PairRecord& pair) {
  PairEvidence evidence;
  evidence.i = pair.i;
  evidence.j = pair.j;
  evidence.ratio = kInfinity;
  evidence.threshold = ThresholdOf(source, rule, pair);
  evidence.contribution = {ContributionOf(source, pair.i, pair.difference_on_i),
                           ContributionOf(source, pair.j, pair.difference_on_j)};
  const SideValues all = BothSides(source, roles.counts, pair);
  const SideValues choosing = BothSides(source, roles.selects, pair);
  const SideValues confirming = BothSides(source, roles.confirms, pair);
  evidence.tokens = {all[0].tokens(), all[1].tokens()};
  for (std::size_t s = 0; s < 2; ++s) {
    if (!Enough(all[s], rule) || !EnoughOfHalf(choosing[s], rule) ||
        !EnoughOfHalf(confirming[s], rule)) {
      return evidence;
    }
  }
  if (!pair.candidate || !CloseOnChoosingHalf(choosing, evidence.threshold)) {
    evidence.verdict = PairVerdict::kApart;
    return evidence;
  }
  evidence.sides = WeighSides(confirming, rule, SeedOf(source, rule, pair, 0), "", evidence);
  WeighTails(all, rule, SeedOf(source, rule, pair, 1), evidence);
  WeighDomains(source, all, rule, SeedOf(source, rule, pair, 2), evidence);
  WeighProbe(source, pair, evidence);
  evidence.verdict = evidence.ratio <= 1 ? PairVerdict::kEquivalent : PairVerdict::kLost;
  return evidence;
}

DistanceRange RangeOf(const EvidenceSource& source, const EvidenceRule& rule,
                      const PairRecord& pair) {
  const std::vector<std::uint8_t> everywhere(source.text->documents(), 1);
  const SideValues sides = BothSides(source, everywhere, pair);
  DistanceRange range{kInfinity, 0};
  const auto widen = [&](double low, double high) {
    range = {std::min(range.low, low), std::max(range.high, high)};
  };
  for (std::size_t s = 0; s < 2; ++s) {
    if (!EnoughOfHalf(sides[s], rule)) continue;
    const DistanceLimits limits =
        MeasureLimits(sides[s], rule.draws, HashWords({SeedOf(source, rule, pair, 4), s}));
    widen(limits.lower_rms, limits.upper.rms);
  }
  PairEvidence of_probe;
  WeighProbe(source, pair, of_probe);
  if (of_probe.probe_tokens >= rule.min_tokens) widen(of_probe.probe_rms, of_probe.probe_rms);
  return range.low == kInfinity ? DistanceRange{} : range;
}

bool HasEvidence(const EvidenceSource& source, const EvidenceRule& rule, std::int64_t expert) {
  const ExpertSample& sample = source.record->samples[static_cast<std::size_t>(expert)];
  const std::vector<float> distances(sample.tokens.size(), 0.0f);
  const auto on = [&](const std::vector<std::uint8_t>& role) {
    return DistancesOf(*source.text, role, sample, distances, distances);
  };
  const DocumentRoles roles = SplitRoles(*source.text);
  return Enough(on(roles.counts), rule) && EnoughOfHalf(on(roles.selects), rule) &&
         EnoughOfHalf(on(roles.confirms), rule);
}

double DecoyRatio(const EvidenceSource& source, const EvidenceRule& rule,
                  const DecoyRecord& decoy) {
  const auto expert = static_cast<std::size_t>(decoy.expert);
  const std::vector<std::uint8_t> everywhere(source.text->documents(), 1);
  const TokenDistances distances =
      DistancesOf(*source.text, everywhere, source.record->samples[expert], decoy.difference,
                  decoy.larger_norm);
  if (distances.tokens() < rule.min_tokens || distances.CountDocuments() < rule.min_documents) {
    return kInfinity;
  }
  const double scale = rule.tolerance * std::sqrt(2.0);
  const Statistics3& nu = source.noise[expert].nu;
  const DistanceLimits limits = MeasureLimits(
      distances, rule.draws,
      HashWords({rule.seed, static_cast<std::uint64_t>(source.record->layer), expert, 3}));
  return std::max(RatioTo(limits.upper.rms, scale * nu.rms),
                  RatioTo(limits.upper.p95, scale * nu.p95));
}

}  // namespace cacheready
