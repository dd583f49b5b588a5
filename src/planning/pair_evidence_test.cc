// SPDX-License-Identifier: Apache-2.0
#include "planning/pair_evidence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "planning/synthetic_layer.h"

namespace cacheready {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Experts 0 and 1 on a record whose numbers each test sets: 16 documents of 64 tokens; expert 0
// speaks for the even tokens, expert 1 for the odd ones; nu is 0.1 everywhere.
class PairEvidenceTest : public ::testing::Test {
 protected:
  static constexpr std::int64_t kDocuments = 16, kLength = 64, kTokens = kDocuments * kLength;

  PairEvidenceTest() {
    for (std::int64_t d = 0; d < kDocuments; ++d) {
      documents_.push_back({"d" + std::to_string(d), "", d * kLength, kLength});
    }
    spec_.experts = 3;
    spec_.top_k = 1;
    record_.logits = Matrix(kTokens, 3);
    record_.probe_logits = Matrix(10, 3);
    for (std::int64_t t = 0; t < kTokens; ++t) record_.logits.at(t, t % 2) = 5;
    for (std::int64_t t = 0; t < 10; ++t) record_.probe_logits.at(t, t < 4 ? t % 2 : 2) = 5;
    record_.y_norm.assign(kTokens, 2.0f);
    record_.samples.resize(3);
    for (std::int32_t t = 0; t < kTokens; ++t) {
      auto& sample = record_.samples[static_cast<std::size_t>(t % 2)];
      sample.tokens.push_back(t);
      sample.noise.push_back(0.1f);
    }
    pair_.j = 1;
    pair_.candidate = true;
    SetDistance([](std::int32_t) { return 0.0; });
    pair_.probe_distance.assign(10, 0.0f);
  }

  // r(t) for all tokens; norms are 4.
  void SetDistance(const std::function<double(std::int32_t)>& distance) {
    pair_.difference_on_i.clear();
    pair_.difference_on_j.clear();
    for (const std::int32_t t : record_.samples[0].tokens) {
      pair_.difference_on_i.push_back(static_cast<float>(4 * distance(t)));
    }
    for (const std::int32_t t : record_.samples[1].tokens) {
      pair_.difference_on_j.push_back(static_cast<float>(4 * distance(t)));
    }
    pair_.larger_norm_on_i.assign(pair_.difference_on_i.size(), 4.0f);
    pair_.larger_norm_on_j.assign(pair_.difference_on_j.size(), 4.0f);
  }

  int HalfOf(std::int32_t token) const {
    const TextLayout text = MakeTextLayout(documents_, rule_.seed);
    return text.half_of[static_cast<std::size_t>(token / kLength)];
  }

  PairEvidence Judge() {
    const TextLayout text = MakeTextLayout(documents_, rule_.seed);
    const Routing routing = Route(spec_, record_.logits, Fp32Arithmetic());
    const Routing probe = Route(spec_, record_.probe_logits, Fp32Arithmetic());
    const EvidenceSource source{&record_, &text, &routing, &probe, MeasureNoise(record_)};
    return JudgePair(source, SplitRoles(text), rule_, pair_);
  }

  std::vector<ScannedDocument> documents_;
  RouterSpec spec_;
  LayerRecord record_;
  PairRecord pair_;
  EvidenceRule rule_;
};

const double kThreshold = std::sqrt(2.0) * 0.1;

TEST_F(PairEvidenceTest, ACopyIsEquivalentAtRatioZero) {
  const PairEvidence evidence = Judge();
  EXPECT_EQ(evidence.verdict, PairVerdict::kEquivalent);
  EXPECT_EQ(evidence.ratio, 0);
  EXPECT_NEAR(evidence.threshold.rms, kThreshold, 1e-8);
}

TEST_F(PairEvidenceTest, TheRatioIsTheDistanceInUnitsOfTheThreshold) {
  SetDistance([](std::int32_t) { return 0.7 * kThreshold; });
  const PairEvidence evidence = Judge();
  EXPECT_EQ(evidence.verdict, PairVerdict::kEquivalent);
  EXPECT_NEAR(evidence.ratio, 0.7, 1e-6);
  rule_.tolerance = 0.5;
  EXPECT_EQ(Judge().verdict, PairVerdict::kApart);
}

TEST_F(PairEvidenceTest, TheLargerSideCounts) {
  SetDistance([](std::int32_t t) { return t % 2 == 0 ? 0.2 * kThreshold : 0.9 * kThreshold; });
  EXPECT_NEAR(Judge().ratio, 0.9, 1e-6);
  SetDistance([](std::int32_t t) { return t % 2 == 0 ? 0.2 * kThreshold : 1.1 * kThreshold; });
  EXPECT_EQ(Judge().verdict, PairVerdict::kApart);
}

TEST_F(PairEvidenceTest, TheSmallerNoiseIsTheUnit) {
  std::fill(record_.samples[1].noise.begin(), record_.samples[1].noise.end(), 0.05f);
  SetDistance([](std::int32_t) { return 0.45 * kThreshold; });
  EXPECT_NEAR(Judge().ratio, 0.9, 1e-6);
}

TEST_F(PairEvidenceTest, ATailThatTheRmsHidesIsSeenByTheP95) {
  // 7 % of the tokens at three thresholds: RMS 0.8 of it, p95 three times it.
  SetDistance([](std::int32_t t) { return t % 100 < 7 ? 3 * kThreshold : 0.0; });
  EXPECT_EQ(Judge().verdict, PairVerdict::kApart);
}

TEST_F(PairEvidenceTest, ATailThatTheP95HidesIsSeenByTheP99) {
  // 2 % of the tokens of either expert at three thresholds: RMS 0.42, p95 0, p99 3.
  SetDistance([](std::int32_t t) { return t % 100 < 2 ? 3 * kThreshold : 0.0; });
  const PairEvidence evidence = Judge();
  EXPECT_EQ(evidence.verdict, PairVerdict::kLost);
  EXPECT_NEAR(evidence.ratio, 3, 1e-5);
  EXPECT_THAT(evidence.decided_by, HasSubstr("p99"));
  rule_.p99_tokens = 100000;
  EXPECT_EQ(Judge().verdict, PairVerdict::kEquivalent);
}

TEST_F(PairEvidenceTest, CloseOnTheChoosingHalfOnlyIsLostAtConfirmation) {
  SetDistance([&](std::int32_t t) { return HalfOf(t) == 0 ? 0.0 : 1.5 * kThreshold; });
  const PairEvidence evidence = Judge();
  EXPECT_EQ(evidence.verdict, PairVerdict::kLost);
  EXPECT_NEAR(evidence.ratio, 1.5, 1e-5);
}

TEST_F(PairEvidenceTest, FarOnTheChoosingHalfIsNeverTested) {
  SetDistance([&](std::int32_t t) { return HalfOf(t) == 0 ? 1.5 * kThreshold : 0.0; });
  EXPECT_EQ(Judge().verdict, PairVerdict::kApart);
}

TEST_F(PairEvidenceTest, TooFewTokensAreUnknownNotEquivalent) {
  pair_.difference_on_j.resize(63);
  pair_.larger_norm_on_j.resize(63);
  const PairEvidence evidence = Judge();
  EXPECT_EQ(evidence.verdict, PairVerdict::kUnknown);
  EXPECT_EQ(evidence.ratio, std::numeric_limits<double>::infinity());
}

TEST_F(PairEvidenceTest, TooFewDocumentsAreUnknownNotEquivalent) {
  // 7 documents hold all 448 tokens and more.
  pair_.difference_on_i.resize(7 * kLength / 2);
  pair_.larger_norm_on_i.resize(7 * kLength / 2);
  EXPECT_EQ(Judge().verdict, PairVerdict::kUnknown);
}

TEST_F(PairEvidenceTest, ADomainApartRefusesThePair) {
  // Two documents of either half are law, and 1 in 16 of their tokens is far: more than 5 % of the
  // law, less than 5 % of the text, whichever documents are drawn.
  const TextLayout text = MakeTextLayout(documents_, rule_.seed);
  std::array<int, 2> law_in_half{};
  for (std::size_t d = 0; d < documents_.size(); ++d) {
    documents_[d].domain = law_in_half[text.half_of[d]]++ < 2 ? "law" : "code";
  }
  SetDistance([&](std::int32_t t) {
    const bool law = documents_[static_cast<std::size_t>(t / kLength)].domain == "law";
    return law && t % 32 < 2 ? 2.3 * kThreshold : 0.0;
  });
  rule_.p99_tokens = 100000;
  const PairEvidence evidence = Judge();
  EXPECT_EQ(evidence.verdict, PairVerdict::kLost);
  EXPECT_THAT(evidence.decided_by, HasSubstr("in law"));
  EXPECT_THAT(evidence.untested_domains, IsEmpty());
}

TEST_F(PairEvidenceTest, DomainsWithFewTokensAreListedAsUntested) {
  for (ScannedDocument& document : documents_) document.domain = "code";
  documents_[3].domain = "law";  // 32 tokens a side
  const PairEvidence evidence = Judge();
  EXPECT_EQ(evidence.verdict, PairVerdict::kEquivalent);
  EXPECT_THAT(evidence.untested_domains, ElementsAre("law"));
}

TEST_F(PairEvidenceTest, ACoincidenceOnTheRoutedTokensFailsOnTheProbe) {
  pair_.probe_distance.assign(10, static_cast<float>(2.1 * kThreshold));
  PairEvidence evidence = Judge();
  EXPECT_EQ(evidence.verdict, PairVerdict::kLost);
  EXPECT_NEAR(evidence.ratio, 1.05, 1e-6);
  EXPECT_EQ(evidence.probe_tokens, 6);
  // The probe tokens 0 ... 3 selected one of the two and do not count.
  for (std::size_t t = 0; t < 4; ++t) pair_.probe_distance[t] = 100;
  for (std::size_t t = 4; t < 10; ++t) {
    pair_.probe_distance[t] = static_cast<float>(1.9 * kThreshold);
  }
  evidence = Judge();
  EXPECT_EQ(evidence.verdict, PairVerdict::kEquivalent);
  EXPECT_NEAR(evidence.probe_rms, 1.9 * kThreshold, 1e-6);
}

TEST_F(PairEvidenceTest, PairsThatTheScanDidNotChooseAreApart) {
  pair_.candidate = false;
  EXPECT_EQ(Judge().verdict, PairVerdict::kApart);
}

TEST_F(PairEvidenceTest, WithoutNoiseOnlyExactCopiesAreEquivalent) {
  for (auto& sample : record_.samples) {
    std::fill(sample.noise.begin(), sample.noise.end(), 0.0f);
  }
  EXPECT_EQ(Judge().verdict, PairVerdict::kEquivalent);
  SetDistance([](std::int32_t) { return 1e-6; });
  EXPECT_EQ(Judge().verdict, PairVerdict::kApart);
}

TEST_F(PairEvidenceTest, ReportsWhatASwapDoesToTheLayer) {
  // Softmax over 3 logits (5, 0, 0), renormalized over one: weight 1; |difference| 0.4, |y| 2.
  SetDistance([](std::int32_t) { return 0.1; });
  EXPECT_NEAR(Judge().contribution[0], 0.2, 1e-6);
}

TEST_F(PairEvidenceTest, TheRangeHoldsBothSidesAndTheProbe) {
  const TextLayout text = MakeTextLayout(documents_, 0);
  const Routing routing = Route(spec_, record_.logits, Fp32Arithmetic());
  const Routing probe = Route(spec_, record_.probe_logits, Fp32Arithmetic());
  const EvidenceSource source{&record_, &text, &routing, &probe, MeasureNoise(record_)};
  SetDistance([](std::int32_t t) { return t % 2 == 0 ? 0.04 : 0.06; });
  const DistanceRange sides = RangeOf(source, rule_, pair_);
  EXPECT_NEAR(sides.low, 0.04, 1e-6);  // a constant has no spread
  EXPECT_NEAR(sides.high, 0.06, 1e-6);

  SetDistance([](std::int32_t t) { return t / kLength % 2 == 0 ? 0.02 : 0.08; });
  const double rms = std::sqrt((0.02 * 0.02 + 0.08 * 0.08) / 2);
  const DistanceRange spread = RangeOf(source, rule_, pair_);
  EXPECT_LT(spread.low, rms);
  EXPECT_GT(spread.high, rms);

  rule_.min_tokens = 6;  // the probe tokens that selected neither
  pair_.probe_distance.assign(10, 0.2f);
  EXPECT_NEAR(RangeOf(source, rule_, pair_).high, 0.2, 1e-6);
}

TEST_F(PairEvidenceTest, NothingMeasuredIsAnyDistance) {
  const TextLayout text = MakeTextLayout(documents_, 0);
  const Routing probe = Route(spec_, record_.probe_logits, Fp32Arithmetic());
  const EvidenceSource source{&record_, &text, nullptr, &probe, MeasureNoise(record_)};
  rule_.min_documents = 64;
  EXPECT_EQ(RangeOf(source, rule_, pair_).low, 0);
  EXPECT_EQ(RangeOf(source, rule_, pair_).high, std::numeric_limits<double>::infinity());
}

TEST_F(PairEvidenceTest, ADecoyAtTwiceTheThresholdIsRefused) {
  const TextLayout text = MakeTextLayout(documents_, 0);
  EvidenceSource source{&record_, &text, nullptr, nullptr, MeasureNoise(record_)};
  DecoyRecord decoy;
  decoy.expert = 1;
  decoy.larger_norm.assign(record_.samples[1].tokens.size(), 1.0f);
  decoy.difference.assign(decoy.larger_norm.size(), static_cast<float>(2 * kThreshold));
  EXPECT_NEAR(DecoyRatio(source, rule_, decoy), 2, 1e-6);
  decoy.difference.resize(10);
  EXPECT_EQ(DecoyRatio(source, rule_, decoy), std::numeric_limits<double>::infinity());
}

}  // namespace
}  // namespace cacheready
