// SPDX-License-Identifier: Apache-2.0
#include "scan/layer_scan.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/console.h"
#include "base/error.h"
#include "base/parallel.h"
#include "base/phases.h"
#include "compute/sequence_ops.h"
#include "model/expert_pass.h"
#include "scan/candidates.h"
#include "scan/class_error.h"
#include "scan/decoys.h"
#include "scan/noise.h"
#include "scan/pair_distances.h"
#include "scan/probe.h"
#include "scan/ranked_gram.h"
#include "scan/samples.h"

namespace cacheready {
namespace {

// Stored bytes of one router tensor; nothing where the family has none.
void CopyTensor(const Checkpoint& checkpoint, const std::string& name, Dtype& dtype,
                std::vector<std::byte>& bytes) {
  if (name.empty()) return;
  const TensorView& tensor = checkpoint.GetTensor(name);
  dtype = tensor.dtype;
  bytes.assign(tensor.bytes.begin(), tensor.bytes.end());
}

RouterRecord RecordRouter(const Checkpoint& checkpoint, const MoeBlock& moe) {
  RouterRecord record;
  record.weight_tensor = moe.tensors.weight;
  record.logit_bias_tensor = moe.tensors.logit_bias;
  record.selection_bias_tensor = moe.tensors.selection_bias;
  CopyTensor(checkpoint, record.weight_tensor, record.weight_dtype, record.weight);
  CopyTensor(checkpoint, record.logit_bias_tensor, record.logit_bias_dtype, record.logit_bias);
  CopyTensor(checkpoint, record.selection_bias_tensor, record.selection_bias_dtype,
             record.selection_bias);
  record.spec = ToJson(moe.router);
  return record;
}

void RecordTokens(const LayerActivations& reference, const LayerActivations& served,
                  std::int64_t tokens, LayerRecord& record) {
  record.logits = FirstRows(reference.logits, tokens);
  record.profile_logits = FirstRows(served.logits, tokens);
  const auto count = static_cast<std::size_t>(tokens);
  record.x_norm.resize(count);
  record.y_norm.resize(count);
  record.profile_change.resize(count);
  ParallelFor(tokens, [&](std::int64_t token) {
    const auto t = static_cast<std::size_t>(token);
    const double y_norm = std::sqrt(SquaredNorm(reference.y.row(token)));
    const double change = std::sqrt(SquaredDistance(served.y.row(token), reference.y.row(token)));
    record.x_norm[t] = static_cast<float>(std::sqrt(SquaredNorm(reference.x.row(token))));
    record.y_norm[t] = static_cast<float>(y_norm);
    record.profile_change[t] = change == 0 ? 0.0f : static_cast<float>(change / y_norm);
  });
}

// measure(expert, tokens) of every expert that has tokens; empty for the others.
template <typename Result, typename Measure>
std::vector<Result> MeasureAll(const MoeBlock& moe,
                               const std::vector<std::vector<std::int32_t>>& tokens,
                               const Measure& measure) {
  const Phase phase("rendition noise");
  std::vector<Result> results(tokens.size());
  ForEachExpertWithRows(moe, tokens, [&](std::int32_t expert) {
    const auto e = static_cast<std::size_t>(expert);
    results[e] = measure(expert, tokens[e]);
  });
  return results;
}

// Samples and their rendition noise.
std::vector<ExpertSample> MeasureSamples(const MoeBlock& moe, const Matrix& x,
                                         std::vector<std::vector<std::int32_t>> tokens,
                                         const NoiseSource& source) {
  auto noise = MeasureAll<std::vector<float>>(
      moe, tokens, [&](std::int32_t expert, std::span<const std::int32_t> rows) {
        return RenditionNoise(moe, expert, x, rows, source);
      });
  std::vector<ExpertSample> samples(tokens.size());
  for (std::size_t e = 0; e < samples.size(); ++e) {
    samples[e].tokens = std::move(tokens[e]);
    samples[e].noise = std::move(noise[e]);
  }
  return samples;
}

std::vector<double> RmsNoise(const std::vector<ExpertErrors>& errors) {
  std::vector<std::vector<float>> noise;
  noise.reserve(errors.size());
  for (const ExpertErrors& expert : errors) noise.push_back(expert.noise);
  return NoisePerExpert(noise);
}

// How many probe tokens selected each expert.
std::vector<std::int64_t> ProbeSelections(const Routing& routing, std::int64_t experts,
                                          std::span<const std::int32_t> probe_rows) {
  std::vector<std::int64_t> selections(static_cast<std::size_t>(experts), 0);
  for (const std::int32_t row : probe_rows) {
    for (const std::int32_t e : routing.ids_of(row)) ++selections[static_cast<std::size_t>(e)];
  }
  return selections;
}

std::vector<PairRequest> Requests(std::span<const ExpertPair> candidates,
                                  std::span<const ExpertPair> neighbours,
                                  const ScanOptions& options) {
  std::vector<PairRequest> requests;
  for (const ExpertPair& pair : candidates) {
    requests.push_back({pair, true, options.sample_per_side});
  }
  for (const ExpertPair& pair : neighbours) {
    requests.push_back({pair, false, options.neighbour_tokens});
  }
  std::sort(requests.begin(), requests.end(),
            [](const PairRequest& a, const PairRequest& b) { return a.pair < b.pair; });
  return requests;
}

}  // namespace

LayerRecord ScanLayer(const Checkpoint& checkpoint, const ScanText& text,
                      const ScanOptions& options, std::int64_t layer, const MoeBlock& moe,
                      const LayerActivations& reference, const LayerActivations& served) {
  const Phase phase_of_rest("scan, the rest");
  LayerRecord record;
  record.layer = layer;
  record.router = RecordRouter(checkpoint, moe);
  RecordTokens(reference, served, text.tokens, record);
  const auto experts = static_cast<std::int64_t>(moe.experts.size());
  record.probe_logits = GatherRows(reference.logits, text.probe_rows);

  // The unit first, then who is near enough in that unit. Both on the probe: every part of a scan
  // runs it whole, so all parts choose alike.
  const NoiseSource noise_source{&GetProfile(options.profile), options.seed, layer,
                                 options.numerics};
  const auto probe_sample = ProbeSamples(reference.logits, text.probe_rows, kProbeNoiseTokens);
  const auto errors = MeasureAll<ExpertErrors>(
      moe, probe_sample, [&](std::int32_t expert, std::span<const std::int32_t> rows) {
        return MeasureErrors(moe, expert, reference.x, rows, noise_source);
      });
  RequirePreciseClass(errors, options.numerics, {layer, options.profile});
  const std::vector<double> noise = RmsNoise(errors);
  const PairSums probe =
      ProbeDistances(moe, reference.x, text.probe_rows, options.memory_bytes, options.numerics);
  const std::vector<ExpertPair> candidates = ChooseCandidates(probe, noise, options.tolerance);

  // With so many candidates the samples of all partners would cover the whole text: one shared
  // sample serves every pair, and each expert speaks through the part of it that selected it.
  const TokenHashes hashes(options.seed, layer, text.documents);
  const bool crowded =
      static_cast<std::int64_t>(candidates.size()) > options.pairs_per_expert * experts;
  const SampleChooser chooser =
      crowded ? SampleChooser(hashes, options.sample_per_side, options.shared_sample)
              : SampleChooser(hashes, options.sample_per_side);
  record.samples = MeasureSamples(
      moe, reference.x, SampleTokens(reference.routing, experts, hashes, chooser), noise_source);
  Neighbours neighbours = FindNeighbours(probe);
  record.pairs = MeasurePairs(
      moe, reference.x, Requests(candidates, NeighbourPairs(neighbours, candidates), options),
      {record.samples, text.probe_rows, &probe}, options.memory_bytes, options.numerics);
  record.nearest = std::move(neighbours.nearest);
  record.nearest_distance = std::move(neighbours.distance);
  Detail(fmt::format("layer {}: {} of {} pairs are candidates", layer, candidates.size(),
                     experts * (experts - 1) / 2));

  const std::vector<std::int32_t> members =
      ChooseDecoyMembers(record.pairs, ProbeSelections(reference.routing, experts, text.probe_rows),
                         options.decoys_per_layer);
  const Phase phase("decoys and ranked outputs");
  record.decoys =
      MeasureDecoys(moe, reference.x, members,
                    {options.seed, layer, options.tolerance, noise, probe_sample, record.samples});
  if (!candidates.empty()) {
    RecordRankedGram(moe, reference.x, options.memory_bytes, record, options.numerics);
  }
  return record;
}

}  // namespace cacheready
