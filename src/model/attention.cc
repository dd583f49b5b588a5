// SPDX-License-Identifier: Apache-2.0
#include "model/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/math.h"
#include "model/projection.h"

namespace cacheready {
namespace {

// Columns of a projection [tokens, heads * 2 * head_dim] taken apart: the first or the second
// half of every head.
Matrix HalfOfHeads(const Matrix& x, std::int64_t head_dim, bool second) {
  Matrix half = Matrix::Uninitialized(x.rows(), x.cols() / 2);
  ForEachRow(half, [&](std::int64_t t) {
    const auto source = x.row(t);
    const auto target = half.row(t);
    for (std::int64_t c = 0; c < half.cols(); c += head_dim) {
      std::copy_n(source.begin() + 2 * c + (second ? head_dim : 0), head_dim, target.begin() + c);
    }
  });
  return half;
}

std::optional<Norm> OpenQkNorm(const WeightReader& weights, const std::string& module,
                               const AttentionSpec& spec, std::int64_t heads) {
  switch (spec.qk_norm) {
    case QkNorm::kNone:
      return std::nullopt;
    case QkNorm::kHead:
      return OpenNorm(weights, module, spec.head_dim, spec.norm_eps, spec.norm_offset);
    case QkNorm::kProjection:
      return OpenNorm(weights, module, heads * spec.head_dim, spec.norm_eps, spec.norm_offset);
    case QkNorm::kUnitHead:
      return Norm{.weight = std::vector<float>(static_cast<std::size_t>(spec.head_dim), 1.0f),
                  .eps = static_cast<float>(spec.norm_eps)};
  }
  return std::nullopt;
}

void ScaleQueries(const QueryTemperature& temperature, DocumentBounds documents, Matrix& q) {
  for (std::size_t d = 0; d + 1 < documents.size(); ++d) {
    for (std::int64_t t = documents[d]; t < documents[d + 1]; ++t) {
      const auto position = static_cast<double>(t - documents[d]);
      const double steps = std::floor((position + 1) / temperature.positions);
      const auto scale = static_cast<float>(1 + temperature.strength * Log1p(steps));
      for (float& value : q.row(t)) value *= scale;
    }
  }
}

void Clip(float limit, Matrix& x) {
  for (float& value : x.values()) value = std::clamp(value, -limit, limit);
}

class Attention final : public Mixer {
 public:
  Attention(const WeightReader& weights, const std::string& module, const AttentionSpec& spec)
      : spec_(spec) {
    const AttentionNames& names = spec.names;
    const std::int64_t q_width = spec.heads * spec.head_dim;
    const std::int64_t kv_width = spec.kv_heads * spec.head_dim;
    const auto open = [&](const std::string& name, std::int64_t rows, std::int64_t cols,
                          bool bias) {
      return OpenProjection(weights, module + "." + name, {rows, cols, bias});
    };
    q_ = open(names.q, spec.output_gate ? 2 * q_width : q_width, spec.hidden, spec.input_bias);
    k_ = open(names.k, kv_width, spec.hidden, spec.input_bias);
    v_ = open(names.v, kv_width, spec.hidden, spec.input_bias);
    o_ = open(names.o, spec.hidden, q_width, spec.output_bias);
    q_norm_ = OpenQkNorm(weights, module + "." + names.q_norm, spec, spec.heads);
    k_norm_ = OpenQkNorm(weights, module + "." + names.k_norm, spec, spec.kv_heads);
    if (spec.sinks) sinks_ = weights.Values(module + ".sinks", {spec.heads});
  }

  Matrix Run(const Arithmetic& arithmetic, const Matrix& x,
             DocumentBounds documents) const override {
    LinearInput input(x);
    Matrix q = RunProjection(arithmetic, Role::kMixerInput, q_, input);
    Matrix gate;
    if (spec_.output_gate) {
      gate = HalfOfHeads(q, spec_.head_dim, true);
      q = HalfOfHeads(q, spec_.head_dim, false);
    }
    Matrix k = RunProjection(arithmetic, Role::kMixerInput, k_, input);
    Matrix v = RunProjection(arithmetic, Role::kMixerInput, v_, input);
    if (!spec_.norm_after_rotary) NormQueriesAndKeys(arithmetic, q, k);
    if (spec_.clip > 0) {
      for (Matrix* clipped : {&q, &k, &v}) Clip(spec_.clip, *clipped);
    }
    if (spec_.rotary) RunRotary(arithmetic, *spec_.rotary, documents, q);
    if (spec_.rotary) RunRotary(arithmetic, *spec_.rotary, documents, k);
    if (spec_.norm_after_rotary) NormQueriesAndKeys(arithmetic, q, k);
    if (spec_.temperature) {
      ScaleQueries(*spec_.temperature, documents, q);
      Round(arithmetic, RoundingPoint::kRotary, q.values());
    }
    Matrix heads = CausalAttention(q, k, v, Options(arithmetic), documents);
    Round(arithmetic, RoundingPoint::kAttentionOutput, heads.values());
    if (spec_.output_gate) MultiplySigmoid(arithmetic, gate, heads);
    LinearInput output(heads);
    return RunProjection(arithmetic, Role::kMixerOutput, o_, output);
  }

 private:
  AttentionOptions Options(const Arithmetic& arithmetic) const {
    return {.heads = spec_.heads,
            .kv_heads = spec_.kv_heads,
            .head_dim = spec_.head_dim,
            .value_dim = spec_.head_dim,
            .scale = spec_.scale != 0 ? spec_.scale
                                      : 1.0f / std::sqrt(static_cast<float>(spec_.head_dim)),
            .window = spec_.window,
            .chunk = spec_.chunk,
            .sinks = sinks_,
            .round_probabilities_bf16 =
                arithmetic.profile->at(RoundingPoint::kAttentionProbabilities) == Rounding::kBf16};
  }

  void NormQueriesAndKeys(const Arithmetic& arithmetic, Matrix& q, Matrix& k) const {
    if (q_norm_) RunNormSlices(arithmetic, *q_norm_, q);
    if (k_norm_) RunNormSlices(arithmetic, *k_norm_, k);
  }

  static void MultiplySigmoid(const Arithmetic& arithmetic, Matrix& gate, Matrix& heads) {
    Sigmoid(gate.values());
    Round(arithmetic, RoundingPoint::kGate, gate.values());
    MultiplyInto(heads, gate);
    Round(arithmetic, RoundingPoint::kGate, heads.values());
  }

  AttentionSpec spec_;
  Projection q_, k_, v_, o_;
  std::optional<Norm> q_norm_, k_norm_;
  std::vector<float> sinks_;  // [heads] or empty
};

}  // namespace

std::int64_t ReadKvHeads(const ConfigReader& config, std::int64_t heads) {
  const std::int64_t kv_heads = config.Size("num_key_value_heads", heads);
  if (heads % kv_heads != 0) {
    Fail("{}: num_attention_heads {} is no multiple of num_key_value_heads {}", config.what(),
         heads, kv_heads);
  }
  return kv_heads;
}

std::unique_ptr<Mixer> OpenAttention(const WeightReader& weights, const std::string& module,
                                     const AttentionSpec& spec) {
  return std::make_unique<Attention>(weights, module, spec);
}

}  // namespace cacheready
