// What a part decides it decides on the probe, which every part runs whole, so pairs, decoys and
// whatever is measured on the probe are equal in all parts and checked to be. A token's values
// depend on its document only. What is left is which tokens speak for an expert: the smallest
// hashes of the whole text are among the smallest of each part, so they are chosen among the parts'
// own. SPDX-License-Identifier: Apache-2.0
#include "scan/merge_layer.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "records/scan_part.h"
#include "scan/samples.h"

namespace cacheready {
namespace {

// Where a sampled token's values lie: parts[part], at `index` of the part's sample of that expert.
struct Origin {
  std::size_t part = 0, index = 0;
};

struct MergedSample {
  std::vector<std::int32_t> tokens;
  std::vector<Origin> origins;  // of the tokens
};

bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

bool SameRouter(const RouterRecord& a, const RouterRecord& b) {
  const auto key = [](const RouterRecord& r) {
    return std::tie(r.weight_tensor, r.logit_bias_tensor, r.selection_bias_tensor, r.weight_dtype,
                    r.logit_bias_dtype, r.selection_bias_dtype, r.weight, r.logit_bias,
                    r.selection_bias, r.spec);
  };
  return key(a) == key(b);
}

bool SamePairs(std::span<const PairRecord> a, std::span<const PairRecord> b) {
  return std::ranges::equal(a, b, [](const PairRecord& p, const PairRecord& q) {
    return p.i == q.i && p.j == q.j && p.candidate == q.candidate &&
           SameBits(p.probe_distance, q.probe_distance);
  });
}

bool SameDecoys(std::span<const DecoyRecord> a, std::span<const DecoyRecord> b) {
  return std::ranges::equal(a, b, {}, &DecoyRecord::expert, &DecoyRecord::expert);
}

// The first thing in which two parts differ though both measured it on the probe; null if none.
const char* FindDifference(const LayerRecord& a, const LayerRecord& b) {
  if (!SameRouter(a.router, b.router)) return "the router";
  if (a.probe_logits.cols() != b.probe_logits.cols() ||
      !SameBits(a.probe_logits.values(), b.probe_logits.values())) {
    return "the logits of the probe";
  }
  if (a.nearest != b.nearest || !SameBits(a.nearest_distance, b.nearest_distance)) {
    return "the nearest experts";
  }
  if (!SamePairs(a.pairs, b.pairs)) return "the measured pairs";
  if (!SameDecoys(a.decoys, b.decoys)) return "the decoys";
  if (a.ranked_per_token != b.ranked_per_token || a.x.cols() != b.x.cols()) {
    return "the ranked experts";
  }
  return nullptr;
}

class LayerMerge {
 public:
  LayerMerge(const ScanHeader& header, std::span<const LayerRecord> parts)
      : header_(header), parts_(parts), first_(parts.front()) {
    for (std::size_t p = 0; p < parts.size(); ++p) {
      ranges_.push_back(DocumentsOfPart(header.documents, PartAt(p)));
    }
  }

  LayerRecord Run() const {
    for (std::size_t p = 0; p < parts_.size(); ++p) CheckPartRecord(p);
    LayerRecord merged;
    merged.layer = first_.layer;
    merged.router = first_.router;
    merged.probe_logits = first_.probe_logits;
    merged.nearest = first_.nearest;
    merged.nearest_distance = first_.nearest_distance;
    merged.ranked_per_token = first_.ranked_per_token;
    JoinTokens(merged);
    const std::vector<MergedSample> samples = MergeSamples();
    for (std::size_t e = 0; e < samples.size(); ++e) {
      merged.samples.push_back(
          {samples[e].tokens,
           Gather(
               samples[e], samples[e].tokens.size(),
               "noise", [e](const LayerRecord& part) -> auto& { return part.samples[e].noise; })});
    }
    MergePairs(samples, merged);
    MergeDecoys(samples, merged);
    return merged;
  }

 private:
  ScanPart PartAt(std::size_t p) const {
    return {static_cast<std::int64_t>(p) + 1, static_cast<std::int64_t>(parts_.size())};
  }

  void CheckPartRecord(std::size_t p) const {
    const LayerRecord& part = parts_[p];
    if (part.logits.rows() != ranges_[p].tokens) {
      Fail("layer {}: the record of {} holds {} tokens, its documents have {}; scan it again",
           part.layer, PartText(PartAt(p)), part.logits.rows(), ranges_[p].tokens);
    }
    if (const char* difference = FindDifference(first_, part)) {
      Fail(
          "layer {}: {} and {} differ in {}, which no part of the documents decides: they were not "
          "made of the same checkpoint by the same program; scan again",
          part.layer, PartText(PartAt(0)), PartText(PartAt(p)), difference);
    }
  }

  template <typename T>
  std::vector<T> Join(std::vector<T> LayerRecord::*member) const {
    std::vector<T> all;
    for (const LayerRecord& part : parts_) {
      all.insert(all.end(), (part.*member).begin(), (part.*member).end());
    }
    return all;
  }

  Matrix Join(Matrix LayerRecord::*member) const {
    std::int64_t rows = 0;
    for (const LayerRecord& part : parts_) rows += (part.*member).rows();
    Matrix all(rows, (first_.*member).cols());
    auto next = all.values().begin();
    for (const LayerRecord& part : parts_) {
      next = std::ranges::copy((part.*member).values(), next).out;
    }
    return all;
  }

  void JoinTokens(LayerRecord& merged) const {
    merged.logits = Join(&LayerRecord::logits);
    merged.profile_logits = Join(&LayerRecord::profile_logits);
    merged.x_norm = Join(&LayerRecord::x_norm);
    merged.y_norm = Join(&LayerRecord::y_norm);
    merged.profile_change = Join(&LayerRecord::profile_change);
    if (merged.ranked_per_token == 0) return;
    merged.x = Join(&LayerRecord::x);
    merged.ranked = Join(&LayerRecord::ranked);
    merged.gram = Join(&LayerRecord::gram);
  }

  // As the scan chooses: shared samples where candidates are many.
  SampleChooser MakeChooser(const TokenHashes& hashes) const {
    const auto option = [&](std::string_view key) {
      return GetInt(header_.options, key, "scan.json: options");
    };
    const std::int64_t count = option("sample_per_side");
    const std::int64_t shared = option("shared_sample");
    if (count < 1 || shared < 1) {
      Fail("scan.json: options: sample sizes {} and {} are not positive", count, shared);
    }
    const auto candidates = std::ranges::count(first_.pairs, true, &PairRecord::candidate);
    if (candidates > option("pairs_per_expert") * first_.logits.cols()) {
      return SampleChooser(hashes, count, shared);
    }
    return SampleChooser(hashes, count);
  }

  std::vector<MergedSample> MergeSamples() const {
    const TokenHashes hashes(header_.seed, first_.layer, header_.documents);
    const SampleChooser chooser = MakeChooser(hashes);
    std::vector<MergedSample> samples(first_.samples.size());
    for (std::size_t e = 0; e < samples.size(); ++e) {
      std::map<std::int32_t, Origin> origins;
      std::vector<std::int32_t> tokens;
      for (std::size_t p = 0; p < parts_.size(); ++p) {
        const std::vector<std::int32_t>& sampled = parts_[p].samples[e].tokens;
        for (std::size_t n = 0; n < sampled.size(); ++n) {
          tokens.push_back(sampled[n] + static_cast<std::int32_t>(ranges_[p].first_token));
          origins[tokens.back()] = {p, n};
        }
      }
      samples[e].tokens = chooser.Choose(static_cast<std::int64_t>(e), tokens);
      for (const std::int32_t t : samples[e].tokens) samples[e].origins.push_back(origins.at(t));
    }
    return samples;
  }

  // The values of the first `count` tokens of a sample; values_of(part) are those of a part.
  template <typename ValuesOf>
  std::vector<float> Gather(const MergedSample& sample, std::size_t count, std::string_view what,
                            const ValuesOf& values_of) const {
    std::vector<float> values;
    for (std::size_t n = 0; n < std::min(count, sample.origins.size()); ++n) {
      const Origin& origin = sample.origins[n];
      const std::vector<float>& measured = values_of(parts_[origin.part]);
      if (origin.index >= measured.size()) {
        Fail("layer {}: {} has {} values of {}, expected one more for token {}; scan it again",
             first_.layer, PartText(PartAt(origin.part)), measured.size(), what, sample.tokens[n]);
      }
      values.push_back(measured[origin.index]);
    }
    return values;
  }

  void MergePairs(const std::vector<MergedSample>& samples, LayerRecord& merged) const {
    const std::int64_t neighbour_tokens =
        GetInt(header_.options, "neighbour_tokens", "scan.json: options");
    for (std::size_t n = 0; n < first_.pairs.size(); ++n) {
      PairRecord& pair = merged.pairs.emplace_back();
      pair.i = first_.pairs[n].i;
      pair.j = first_.pairs[n].j;
      pair.candidate = first_.pairs[n].candidate;
      pair.probe_distance = first_.pairs[n].probe_distance;
      const auto side = [&](std::int32_t expert, std::vector<float> PairRecord::*member) {
        const MergedSample& sample = samples[static_cast<std::size_t>(expert)];
        const std::size_t count =
            pair.candidate ? sample.tokens.size() : static_cast<std::size_t>(neighbour_tokens);
        return Gather(
            sample, count,
            "a pair", [&](const LayerRecord& part) -> auto& { return part.pairs[n].*member; });
      };
      pair.difference_on_i = side(pair.i, &PairRecord::difference_on_i);
      pair.larger_norm_on_i = side(pair.i, &PairRecord::larger_norm_on_i);
      pair.difference_on_j = side(pair.j, &PairRecord::difference_on_j);
      pair.larger_norm_on_j = side(pair.j, &PairRecord::larger_norm_on_j);
    }
  }

  void MergeDecoys(const std::vector<MergedSample>& samples, LayerRecord& merged) const {
    for (std::size_t d = 0; d < first_.decoys.size(); ++d) {
      const std::int32_t expert = first_.decoys[d].expert;
      const MergedSample& sample = samples[static_cast<std::size_t>(expert)];
      const auto all = [&](std::vector<float> DecoyRecord::*member) {
        return Gather(
            sample, sample.tokens.size(),
            "a decoy", [&](const LayerRecord& part) -> auto& { return part.decoys[d].*member; });
      };
      merged.decoys.push_back(
          {expert, all(&DecoyRecord::difference), all(&DecoyRecord::larger_norm)});
    }
  }

  const ScanHeader& header_;
  std::span<const LayerRecord> parts_;
  const LayerRecord& first_;
  std::vector<DocumentRange> ranges_;  // of each part
};

}  // namespace

LayerRecord MergeLayer(const ScanHeader& header, std::span<const LayerRecord> parts) {
  return LayerMerge(header, parts).Run();
}

}  // namespace cacheready
