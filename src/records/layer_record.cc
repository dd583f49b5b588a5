// Ragged arrays (samples, pairs, decoys) are stored flat with offsets [n + 1] beside them.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "records/record_tensors.h"
#include "records/scan_record.h"

namespace cacheready {
namespace {

constexpr std::string_view kRecordSchema = "cacheready.layer-record/1";

std::int64_t Size(const auto& container) { return static_cast<std::int64_t>(container.size()); }

template <typename T>
struct Ragged {
  std::vector<std::int64_t> offsets = {0};  // [rows + 1]
  std::vector<T> values;

  void Append(const std::vector<T>& row) {
    values.insert(values.end(), row.begin(), row.end());
    offsets.push_back(Size(values));
  }
  std::vector<T> Row(std::size_t r) const {
    return {values.begin() + offsets[r], values.begin() + offsets[r + 1]};
  }
};

template <typename T>
void AddRagged(RecordTensors& tensors, const std::string& name, const Ragged<T>& ragged) {
  tensors.Add<std::int64_t>(name + ".offsets", {Size(ragged.offsets)}, ragged.offsets);
  tensors.Add<T>(name, {Size(ragged.values)}, ragged.values);
}

template <typename T>
Ragged<T> GetRagged(const RecordFile& file, const std::string& name, std::int64_t rows) {
  Ragged<T> ragged;
  ragged.offsets = file.Get<std::int64_t>(name + ".offsets", {rows + 1});
  ragged.values = file.Get<T>(name, {-1});
  if (ragged.offsets.front() != 0 || ragged.offsets.back() != Size(ragged.values) ||
      !std::is_sorted(ragged.offsets.begin(), ragged.offsets.end())) {
    Fail("{}: tensor '{}.offsets' does not rise from 0 to {}", file.name(), name,
         ragged.values.size());
  }
  return ragged;
}

Json RouterToJson(const RouterRecord& router) {
  const auto entry = [](const std::string& tensor, Dtype dtype) {
    Json json;
    json["tensor"] = tensor;
    json["dtype"] = std::string(DtypeName(dtype));
    return json;
  };
  Json json;
  json["weight"] = entry(router.weight_tensor, router.weight_dtype);
  json["logit_bias"] = entry(router.logit_bias_tensor, router.logit_bias_dtype);
  json["selection_bias"] = entry(router.selection_bias_tensor, router.selection_bias_dtype);
  json["spec"] = router.spec;
  return json;
}

std::pair<std::string, Dtype> TensorOfRouter(const Json& router, std::string_view key,
                                             const std::string& what) {
  const Json& entry = GetMember(router, key, what);
  const std::string dtype = GetString(entry, "dtype", what);
  const std::optional<Dtype> found = FindDtype(dtype);
  if (!found) Fail("{}: dtype '{}' of the router's {} is not known", what, dtype, key);
  return {GetString(entry, "tensor", what), *found};
}

void CheckTokens(const RecordFile& file, std::string_view tensor,
                 const std::vector<std::int32_t>& values, std::int64_t end,
                 std::int64_t begin = 0) {
  for (const std::int32_t value : values) {
    if (value < begin || value >= end) {
      Fail("{}: tensor '{}' holds {}, expected values in [{}, {})", file.name(), tensor, value,
           begin, end);
    }
  }
}

Matrix GetMatrix(const RecordFile& file, const std::string& name, std::int64_t rows,
                 std::int64_t cols) {
  const std::vector<float> values = file.Get<float>(name, {rows, cols});
  const std::vector<std::int64_t> shape = file.ShapeOf(name);
  Matrix matrix(shape[0], shape[1]);
  std::copy(values.begin(), values.end(), matrix.values().begin());
  return matrix;
}

void AddMatrix(RecordTensors& tensors, const std::string& name, const Matrix& matrix) {
  tensors.Add<float>(name, {matrix.rows(), matrix.cols()}, matrix.values());
}

// ---- The parts of a record, each written and read side by side.

void AddRouter(RecordTensors& tensors, const RouterRecord& router, std::int64_t experts) {
  const std::int64_t row_bits = Size(router.weight) * 8 / std::max<std::int64_t>(experts, 1);
  tensors.AddBytes("router.weight", router.weight_dtype,
                   {experts, row_bits / DtypeBits(router.weight_dtype)}, router.weight);
  const auto add_bias = [&](const std::string& name, Dtype dtype,
                            const std::vector<std::byte>& bytes) {
    if (!bytes.empty()) tensors.AddBytes(name, dtype, {experts}, bytes);
  };
  add_bias("router.logit_bias", router.logit_bias_dtype, router.logit_bias);
  add_bias("router.selection_bias", router.selection_bias_dtype, router.selection_bias);
}

RouterRecord GetRouter(const RecordFile& file, const Json& json, std::int64_t experts) {
  RouterRecord router;
  const std::string what = file.name();
  std::tie(router.weight_tensor, router.weight_dtype) = TensorOfRouter(json, "weight", what);
  std::tie(router.logit_bias_tensor, router.logit_bias_dtype) =
      TensorOfRouter(json, "logit_bias", what);
  std::tie(router.selection_bias_tensor, router.selection_bias_dtype) =
      TensorOfRouter(json, "selection_bias", what);
  router.spec = GetMember(json, "spec", what);
  const auto copy = [&](std::string_view name, Dtype dtype, std::vector<std::int64_t> shape) {
    const std::span<const std::byte> bytes = file.GetBytes(name, dtype, std::move(shape));
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  };
  router.weight = copy("router.weight", router.weight_dtype, {experts, -1});
  if (!router.logit_bias_tensor.empty()) {
    router.logit_bias = copy("router.logit_bias", router.logit_bias_dtype, {experts});
  }
  if (!router.selection_bias_tensor.empty()) {
    router.selection_bias = copy("router.selection_bias", router.selection_bias_dtype, {experts});
  }
  return router;
}

struct FlatSamples {
  Ragged<std::int32_t> tokens;
  Ragged<float> noise;
  explicit FlatSamples(const std::vector<ExpertSample>& samples) {
    for (const ExpertSample& sample : samples) {
      tokens.Append(sample.tokens);
      noise.Append(sample.noise);
    }
  }
};

std::vector<ExpertSample> GetSamples(const RecordFile& file, std::int64_t experts,
                                     std::int64_t tokens) {
  const auto sampled = GetRagged<std::int32_t>(file, "samples.tokens", experts);
  const auto noise = GetRagged<float>(file, "samples.noise", experts);
  CheckTokens(file, "samples.tokens", sampled.values, tokens);
  std::vector<ExpertSample> samples;
  for (std::size_t e = 0; e < static_cast<std::size_t>(experts); ++e) {
    samples.push_back({sampled.Row(e), noise.Row(e)});
    if (samples[e].noise.size() > samples[e].tokens.size()) {
      Fail("{}: expert {} has {} noise values for {} sampled tokens", file.name(), e,
           samples[e].noise.size(), samples[e].tokens.size());
    }
  }
  return samples;
}

struct FlatPairs {
  std::vector<std::int32_t> experts;  // [pairs, 2]
  std::vector<std::uint8_t> candidate;
  Ragged<float> difference_on_i, larger_on_i, difference_on_j, larger_on_j;
  std::vector<float> probe;  // [pairs, probe_tokens]
  FlatPairs(const std::vector<PairRecord>& pairs, std::int64_t probe_tokens) {
    for (const PairRecord& pair : pairs) {
      CR_CHECK(Size(pair.probe_distance) == probe_tokens, "pair ({}, {}) has {} probe distances",
               pair.i, pair.j, pair.probe_distance.size());
      experts.push_back(pair.i);
      experts.push_back(pair.j);
      candidate.push_back(pair.candidate ? 1 : 0);
      difference_on_i.Append(pair.difference_on_i);
      larger_on_i.Append(pair.larger_norm_on_i);
      difference_on_j.Append(pair.difference_on_j);
      larger_on_j.Append(pair.larger_norm_on_j);
      probe.insert(probe.end(), pair.probe_distance.begin(), pair.probe_distance.end());
    }
  }
};

void AddPairs(RecordTensors& tensors, const FlatPairs& flat, std::int64_t probe_tokens) {
  const std::int64_t pairs = Size(flat.candidate);
  tensors.Add<std::int32_t>("pairs.experts", {pairs, 2}, flat.experts);
  tensors.Add<std::uint8_t>("pairs.candidate", {pairs}, flat.candidate);
  AddRagged(tensors, "pairs.difference_on_i", flat.difference_on_i);
  AddRagged(tensors, "pairs.larger_norm_on_i", flat.larger_on_i);
  AddRagged(tensors, "pairs.difference_on_j", flat.difference_on_j);
  AddRagged(tensors, "pairs.larger_norm_on_j", flat.larger_on_j);
  tensors.Add<float>("pairs.probe_distance", {pairs, probe_tokens}, flat.probe);
}

void CheckSide(const RecordFile& file, const PairRecord& pair, const std::vector<float>& difference,
               const std::vector<float>& larger, const ExpertSample& sample) {
  if (difference.size() != larger.size() || difference.size() > sample.tokens.size()) {
    Fail("{}: pair ({}, {}) has {} differences and {} norms for {} sampled tokens", file.name(),
         pair.i, pair.j, difference.size(), larger.size(), sample.tokens.size());
  }
}

std::vector<PairRecord> GetPairs(const RecordFile& file, const std::vector<ExpertSample>& samples,
                                 std::int64_t probe_tokens) {
  const auto experts = file.Get<std::int32_t>("pairs.experts", {-1, 2});
  const std::int64_t count = Size(experts) / 2;
  CheckTokens(file, "pairs.experts", experts, Size(samples));
  const auto candidate = file.Get<std::uint8_t>("pairs.candidate", {count});
  const auto difference_i = GetRagged<float>(file, "pairs.difference_on_i", count);
  const auto larger_i = GetRagged<float>(file, "pairs.larger_norm_on_i", count);
  const auto difference_j = GetRagged<float>(file, "pairs.difference_on_j", count);
  const auto larger_j = GetRagged<float>(file, "pairs.larger_norm_on_j", count);
  const auto probe = file.Get<float>("pairs.probe_distance", {count, probe_tokens});
  std::vector<PairRecord> pairs;
  for (std::size_t p = 0; p < static_cast<std::size_t>(count); ++p) {
    PairRecord pair;
    pair.i = experts[2 * p];
    pair.j = experts[2 * p + 1];
    if (pair.i >= pair.j || (!pairs.empty() && std::pair(pairs.back().i, pairs.back().j) >=
                                                   std::pair(pair.i, pair.j))) {
      Fail("{}: tensor 'pairs.experts' is not ascending at pair {}", file.name(), p);
    }
    pair.candidate = candidate[p] != 0;
    pair.difference_on_i = difference_i.Row(p);
    pair.larger_norm_on_i = larger_i.Row(p);
    pair.difference_on_j = difference_j.Row(p);
    pair.larger_norm_on_j = larger_j.Row(p);
    const auto first = probe.begin() + static_cast<std::ptrdiff_t>(p) * probe_tokens;
    pair.probe_distance.assign(first, first + probe_tokens);
    CheckSide(file, pair, pair.difference_on_i, pair.larger_norm_on_i,
              samples[static_cast<std::size_t>(pair.i)]);
    CheckSide(file, pair, pair.difference_on_j, pair.larger_norm_on_j,
              samples[static_cast<std::size_t>(pair.j)]);
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

struct FlatDecoys {
  std::vector<std::int32_t> experts;
  Ragged<float> difference, larger;
  explicit FlatDecoys(const std::vector<DecoyRecord>& decoys) {
    for (const DecoyRecord& decoy : decoys) {
      experts.push_back(decoy.expert);
      difference.Append(decoy.difference);
      larger.Append(decoy.larger_norm);
    }
  }
};

std::vector<DecoyRecord> GetDecoys(const RecordFile& file,
                                   const std::vector<ExpertSample>& samples) {
  const auto experts = file.Get<std::int32_t>("decoys.experts", {-1});
  CheckTokens(file, "decoys.experts", experts, Size(samples));
  const auto difference = GetRagged<float>(file, "decoys.difference", Size(experts));
  const auto larger = GetRagged<float>(file, "decoys.larger_norm", Size(experts));
  std::vector<DecoyRecord> decoys;
  for (std::size_t d = 0; d < experts.size(); ++d) {
    decoys.push_back({experts[d], difference.Row(d), larger.Row(d)});
    const std::size_t sampled = samples[static_cast<std::size_t>(experts[d])].tokens.size();
    if (decoys[d].difference.size() != decoys[d].larger_norm.size() ||
        decoys[d].difference.size() > sampled) {
      Fail("{}: decoy of expert {} has {} differences and {} norms for {} sampled tokens",
           file.name(), experts[d], decoys[d].difference.size(), decoys[d].larger_norm.size(),
           sampled);
    }
  }
  return decoys;
}

void CheckFinite(const RecordFile& file, std::string_view tensor, std::span<const float> values) {
  for (const float value : values) {
    if (!(value <= std::numeric_limits<float>::max() &&
          value >= std::numeric_limits<float>::lowest())) {
      Fail("{}: tensor '{}' holds NaN or infinity", file.name(), tensor);
    }
  }
}

void CheckAllFinite(const RecordFile& file, const LayerRecord& record) {
  CheckFinite(file, "logits", record.logits.values());
  CheckFinite(file, "profile_logits", record.profile_logits.values());
  CheckFinite(file, "profile_change", record.profile_change);
  CheckFinite(file, "y_norm", record.y_norm);
  CheckFinite(file, "x", record.x.values());
  for (const ExpertSample& sample : record.samples)
    CheckFinite(file, "samples.noise", sample.noise);
  for (const PairRecord& pair : record.pairs) {
    CheckFinite(file, "pairs.difference_on_i", pair.difference_on_i);
    CheckFinite(file, "pairs.larger_norm_on_i", pair.larger_norm_on_i);
    CheckFinite(file, "pairs.difference_on_j", pair.difference_on_j);
    CheckFinite(file, "pairs.larger_norm_on_j", pair.larger_norm_on_j);
    CheckFinite(file, "pairs.probe_distance", pair.probe_distance);
  }
}

// The part that is there only for layers with a candidate pair.
void GetReplay(const RecordFile& file, const Json& json, std::int64_t hidden, LayerRecord& record) {
  record.ranked_per_token = GetInt(json, "ranked_per_token", file.name());
  const std::int64_t r = record.ranked_per_token;
  if (r == 0) return;
  const std::int64_t tokens = record.logits.rows();
  if (r < 0 || r > record.logits.cols()) {
    Fail("{}: key 'ranked_per_token' is {}, expected 0 ... {}", file.name(), r,
         record.logits.cols());
  }
  record.x = GetMatrix(file, "x", tokens, hidden);
  record.ranked = file.Get<std::int32_t>("ranked", {tokens, r});
  CheckTokens(file, "ranked", record.ranked, record.logits.cols());
  record.gram = file.Get<double>("gram", {tokens, (r + 1) * (r + 2) / 2});
}

}  // namespace

std::filesystem::path LayerRecordFile(const std::filesystem::path& scan, std::int64_t layer) {
  return scan / fmt::format("layer-{:04}.safetensors", layer);
}

void WriteLayerRecord(const std::filesystem::path& scan, const LayerRecord& record) {
  const std::int64_t experts = record.logits.cols();
  const std::int64_t tokens = record.logits.rows();
  const std::int64_t probe_tokens = record.probe_logits.rows();
  const FlatSamples samples(record.samples);
  const FlatPairs pairs(record.pairs, probe_tokens);
  const FlatDecoys decoys(record.decoys);

  RecordTensors tensors;
  AddRouter(tensors, record.router, experts);
  AddMatrix(tensors, "logits", record.logits);
  AddMatrix(tensors, "profile_logits", record.profile_logits);
  AddMatrix(tensors, "probe_logits", record.probe_logits);
  tensors.Add<float>("x_norm", {tokens}, record.x_norm);
  tensors.Add<float>("y_norm", {tokens}, record.y_norm);
  tensors.Add<float>("profile_change", {tokens}, record.profile_change);
  AddRagged(tensors, "samples.tokens", samples.tokens);
  AddRagged(tensors, "samples.noise", samples.noise);
  AddPairs(tensors, pairs, probe_tokens);
  tensors.Add<std::int32_t>("nearest", {experts}, record.nearest);
  tensors.Add<float>("nearest_distance", {experts}, record.nearest_distance);
  tensors.Add<std::int32_t>("decoys.experts", {Size(decoys.experts)}, decoys.experts);
  AddRagged(tensors, "decoys.difference", decoys.difference);
  AddRagged(tensors, "decoys.larger_norm", decoys.larger);
  if (const std::int64_t r = record.ranked_per_token; r > 0) {
    AddMatrix(tensors, "x", record.x);
    tensors.Add<std::int32_t>("ranked", {tokens, r}, record.ranked);
    tensors.Add<double>("gram", {tokens, (r + 1) * (r + 2) / 2}, record.gram);
  }

  Json json;
  json["schema"] = std::string(kRecordSchema);
  json["layer"] = record.layer;
  json["ranked_per_token"] = record.ranked_per_token;
  json["router"] = RouterToJson(record.router);
  tensors.Publish(LayerRecordFile(scan, record.layer), WriteJson(json));
}

LayerRecord ReadLayerRecord(const std::filesystem::path& scan, std::int64_t layer) {
  const RecordFile file(LayerRecordFile(scan, layer));
  const Json json = ParseJson(file.metadata(), file.name());
  const std::string schema = GetString(json, "schema", file.name());
  if (schema != kRecordSchema)
    Fail("{}: schema is '{}', expected '{}'", file.name(), schema, kRecordSchema);
  LayerRecord record;
  record.layer = GetInt(json, "layer", file.name());
  if (record.layer != layer) {
    Fail("{}: is of layer {}, expected layer {}", file.name(), record.layer, layer);
  }
  record.logits = GetMatrix(file, "logits", -1, -1);
  const std::int64_t tokens = record.logits.rows();
  const std::int64_t experts = record.logits.cols();
  record.profile_logits = GetMatrix(file, "profile_logits", tokens, experts);
  record.probe_logits = GetMatrix(file, "probe_logits", -1, experts);
  record.router = GetRouter(file, GetMember(json, "router", file.name()), experts);
  record.x_norm = file.Get<float>("x_norm", {tokens});
  record.y_norm = file.Get<float>("y_norm", {tokens});
  record.profile_change = file.Get<float>("profile_change", {tokens});
  record.samples = GetSamples(file, experts, tokens);
  record.pairs = GetPairs(file, record.samples, record.probe_logits.rows());
  record.nearest = file.Get<std::int32_t>("nearest", {experts});
  CheckTokens(file, "nearest", record.nearest, experts, -1);
  record.nearest_distance = file.Get<float>("nearest_distance", {experts});
  record.decoys = GetDecoys(file, record.samples);
  GetReplay(file, json, file.ShapeOf("router.weight")[1], record);
  CheckAllFinite(file, record);
  return record;
}

}  // namespace cacheready
