// SPDX-License-Identifier: Apache-2.0
#include "model/latent_attention.h"

#include <algorithm>
#include <cmath>

#include "compute/sequence_ops.h"
#include "model/norm.h"
#include "model/projection.h"
#include "model/rotary_scaling.h"

namespace cacheready {
namespace {

constexpr double kLatentNormEps = 1e-6;  // fixed in transformers, whatever rms_norm_eps is

class LatentAttention final : public Mixer {
 public:
  LatentAttention(const WeightReader& weights, const std::string& module,
                  const LatentAttentionSpec& spec)
      : spec_(spec), query_rotary_(spec.rotary) {
    query_rotary_.head_dim = spec.head_dim();
    query_rotary_.first = spec.plain_dim;
    const auto open = [&](const std::string& name, const ProjectionShape& shape) {
      return OpenProjection(weights, module + "." + name, shape);
    };
    const std::int64_t q_width = spec.heads * spec.head_dim();
    if (spec.query_rank == 0) {
      q_ = open("q_proj", {q_width, spec.hidden});
    } else {
      q_a_ = open("q_a_proj", {spec.query_rank, spec.hidden, spec.bias});
      q_norm_ = OpenNorm(weights, module + ".q_a_layernorm", spec.query_rank, kLatentNormEps, 0.0f);
      q_ = open("q_b_proj", {q_width, spec.query_rank});
    }
    kv_a_ = open("kv_a_proj_with_mqa", {spec.key_rank + spec.rotary_dim, spec.hidden, spec.bias});
    kv_norm_ = OpenNorm(weights, module + ".kv_a_layernorm", spec.key_rank, kLatentNormEps, 0.0f);
    kv_b_ = open("kv_b_proj", {spec.heads * (spec.plain_dim + spec.value_dim), spec.key_rank});
    o_ = open("o_proj", {spec.hidden, spec.heads * spec.value_dim, spec.bias});
  }

  Matrix Run(const Arithmetic& arithmetic, const Matrix& x,
             DocumentBounds documents) const override {
    LinearInput input(x);
    Matrix q = Queries(arithmetic, input);
    RunRotary(arithmetic, query_rotary_, documents, q);

    const Matrix latent = RunProjection(arithmetic, Role::kMixerInput, kv_a_, input);
    Matrix rotated = CopyColumns(latent, spec_.key_rank, spec_.rotary_dim);
    RunRotary(arithmetic, spec_.rotary, documents, rotated);
    const Matrix normed = RunNorm(arithmetic, kv_norm_, CopyColumns(latent, 0, spec_.key_rank));
    LinearInput keys_and_values(normed);
    const Matrix expanded = RunProjection(arithmetic, Role::kMixerInput, kv_b_, keys_and_values);

    Matrix heads = CausalAttention(q, Keys(expanded, rotated), Values(expanded),
                                   Options(arithmetic), documents);
    Round(arithmetic, RoundingPoint::kAttentionOutput, heads.values());
    LinearInput output(heads);
    return RunProjection(arithmetic, Role::kMixerOutput, o_, output);
  }

 private:
  Matrix Queries(const Arithmetic& arithmetic, LinearInput& input) const {
    if (spec_.query_rank == 0) return RunProjection(arithmetic, Role::kMixerInput, q_, input);
    const Matrix latent =
        RunNorm(arithmetic, q_norm_, RunProjection(arithmetic, Role::kMixerInput, q_a_, input));
    LinearInput latent_input(latent);
    return RunProjection(arithmetic, Role::kMixerInput, q_, latent_input);
  }

  AttentionOptions Options(const Arithmetic& arithmetic) const {
    return {.heads = spec_.heads,
            .kv_heads = spec_.heads,
            .head_dim = spec_.head_dim(),
            .value_dim = spec_.value_dim,
            .scale = spec_.scale,
            .round_probabilities_bf16 =
                arithmetic.profile->at(RoundingPoint::kAttentionProbabilities) == Rounding::kBf16};
  }

  // Columns of `expanded`, head by head: the key's plain part, then the value.
  Matrix Keys(const Matrix& expanded, const Matrix& rotated) const {
    const std::int64_t stride = spec_.plain_dim + spec_.value_dim;
    Matrix keys(expanded.rows(), spec_.heads * spec_.head_dim());
    for (std::int64_t t = 0; t < keys.rows(); ++t) {
      const auto shared = rotated.row(t);
      for (std::int64_t head = 0; head < spec_.heads; ++head) {
        const auto to = std::copy_n(expanded.row(t).begin() + head * stride, spec_.plain_dim,
                                    keys.row(t).begin() + head * spec_.head_dim());
        std::copy(shared.begin(), shared.end(), to);
      }
    }
    return keys;
  }

  Matrix Values(const Matrix& expanded) const {
    const std::int64_t stride = spec_.plain_dim + spec_.value_dim;
    Matrix values(expanded.rows(), spec_.heads * spec_.value_dim);
    for (std::int64_t t = 0; t < values.rows(); ++t) {
      for (std::int64_t head = 0; head < spec_.heads; ++head) {
        std::copy_n(expanded.row(t).begin() + head * stride + spec_.plain_dim, spec_.value_dim,
                    values.row(t).begin() + head * spec_.value_dim);
      }
    }
    return values;
  }

  LatentAttentionSpec spec_;
  Rotary query_rotary_;
  Projection q_a_, q_, kv_a_, kv_b_, o_;  // q_a_ only with a query rank
  Norm q_norm_, kv_norm_;
};

// Scaled positions raise the temperature of the scores a second time, by mscale_all_dim.
double ScoreScale(const ConfigReader& config, std::int64_t head_dim) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
  const ConfigReader positions = RotaryParameters(config);
  if (positions.Text("rope_type", positions.Text("type", "default")) == "default") return scale;
  const double mscale = positions.Number("mscale_all_dim", 0);
  if (mscale == 0) return scale;
  const double magnitude = YarnMagnitude(positions.Number("factor"), mscale);
  return scale * magnitude * magnitude;
}

}  // namespace

LatentAttentionSpec ReadLatentAttention(const ConfigReader& config, std::int64_t hidden,
                                        RotaryPairs pairs) {
  LatentAttentionSpec spec{.hidden = hidden,
                           .heads = config.Size("num_attention_heads"),
                           .query_rank = config.Count("q_lora_rank", 0),
                           .key_rank = config.Size("kv_lora_rank"),
                           .plain_dim = config.Size("qk_nope_head_dim"),
                           .rotary_dim = config.Size("qk_rope_head_dim"),
                           .value_dim = config.Size("v_head_dim"),
                           .bias = config.Flag("attention_bias", false)};
  config.RequireInteger("num_key_value_heads", spec.heads);
  config.RequireNumber("partial_rotary_factor", 1);
  spec.scale = static_cast<float>(ScoreScale(config, spec.head_dim()));
  spec.rotary = ReadRotary(config, spec.rotary_dim, {});
  spec.rotary.pairs = pairs;
  return spec;
}

std::unique_ptr<Mixer> OpenLatentAttention(const WeightReader& weights, const std::string& module,
                                           const LatentAttentionSpec& spec) {
  return std::make_unique<LatentAttention>(weights, module, spec);
}

}  // namespace cacheready
