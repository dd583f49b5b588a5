// A layer whose experts are linear maps, with everything a scan would record of it and the outputs
// themselves: tests recompute from these what planning derives from the record.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "arithmetic/profile.h"
#include "base/random.h"
#include "compute/sequence_ops.h"
#include "formats/encoded_matrix.h"
#include "model/router.h"
#include "planning/text_layout.h"
#include "records/scan_record.h"
#include "tensor/float_formats.h"

namespace cacheready {

struct SyntheticOptions {
  RouterSpec spec{.experts = 16, .top_k = 4};
  std::int64_t hidden = 24;
  std::int64_t documents = 32, document_tokens = 48, probe_tokens = 64;
  double noise = 0.05;           // nu of every expert, +- 20 % over tokens
  double logit_noise = 0.02;     // of the profile pass
  double profile_change = 0.05;  // of y
  // Expert `second` becomes a copy of `first`: outputs differ by `difference` (relative, in a
  // random direction), router rows by `row_difference`.
  struct Copy {
    std::int32_t first, second;
    double difference, row_difference;
  };
  std::vector<Copy> copies;
  std::uint64_t seed = 1;
};

class SyntheticLayer {
 public:
  explicit SyntheticLayer(const SyntheticOptions& options) : options_(options) {
    MakeDocuments();
    MakeWeights();
    x_ = Normal(tokens(), options_.hidden, 1.0, 11);
    probe_x_ = Normal(options_.probe_tokens, options_.hidden, 1.0, 12);
    MakeRecord();
  }

  const ScanHeader& header() const { return header_; }
  LayerRecord& record() { return record_; }
  const LayerRecord& record() const { return record_; }
  const RouterSpec& spec() const { return options_.spec; }
  std::int64_t tokens() const { return options_.documents * options_.document_tokens; }
  TextLayout Text(std::uint64_t seed = 0) const { return MakeTextLayout(header_.documents, seed); }

  // f_e(x_t), and y of a routing, shared part included, in fp64.
  std::vector<double> Output(std::int64_t expert, std::int64_t t) const {
    return Apply(experts_[static_cast<std::size_t>(expert)], x_.row(t));
  }
  std::vector<double> LayerOutput(std::span<const std::int32_t> ids, std::span<const float> weights,
                                  std::int64_t t) const {
    std::vector<double> y = Apply(shared_, x_.row(t));
    for (std::size_t n = 0; n < ids.size(); ++n) {
      const std::vector<double> f = Output(ids[n], t);
      for (std::size_t h = 0; h < y.size(); ++h) y[h] += static_cast<double>(weights[n]) * f[h];
    }
    return y;
  }
  static double Norm(const std::vector<double>& v) {
    double sum = 0;
    for (const double value : v) sum += value * value;
    return std::sqrt(sum);
  }
  static double Distance(const std::vector<double>& a, const std::vector<double>& b) {
    std::vector<double> difference(a.size());
    for (std::size_t h = 0; h < a.size(); ++h) difference[h] = a[h] - b[h];
    return Norm(difference);
  }
  Matrix RouterWeight() const { return router_; }
  const Matrix& x() const { return x_; }

 private:
  Matrix Normal(std::int64_t rows, std::int64_t cols, double sigma, std::uint64_t stream) const {
    Matrix matrix(rows, cols);
    for (std::size_t n = 0; n < matrix.values().size(); ++n) {
      matrix.values()[n] =
          static_cast<float>(sigma * NormalAt(HashWords({options_.seed, stream}), n));
    }
    return matrix;
  }

  static std::vector<double> Apply(const Matrix& map, std::span<const float> x) {
    std::vector<double> y;
    for (std::int64_t r = 0; r < map.rows(); ++r) y.push_back(Dot(map.row(r), x));
    return y;
  }

  void MakeDocuments() {
    header_.tool_version = "test";
    header_.key = "key";
    header_.family = "synthetic";
    header_.options = Json::object();
    header_.profile = "fp8-w8a8";
    header_.numerics_class = std::string(NumericsClassName(Numerics::kFp32Chain));
    header_.hidden = options_.hidden;
    header_.layers = 1;
    header_.moe_layers = {0};
    header_.probe_tokens = options_.probe_tokens;
    for (std::int64_t d = 0; d < options_.documents; ++d) {
      // Domains and halves must not coincide: domains go in pairs, halves by hash.
      header_.documents.push_back({"document " + std::to_string(d), d / 2 % 2 == 0 ? "code" : "law",
                                   d * options_.document_tokens, options_.document_tokens});
    }
  }

  void MakeWeights() {
    const double scale = 1.0 / std::sqrt(static_cast<double>(options_.hidden));
    router_ = Normal(options_.spec.experts, options_.hidden, 2 * scale, 1);
    shared_ = Normal(options_.hidden, options_.hidden, scale, 2);
    for (std::int64_t e = 0; e < options_.spec.experts; ++e) {
      experts_.push_back(Normal(options_.hidden, options_.hidden, scale,
                                HashWords({3, static_cast<std::uint64_t>(e)})));
    }
    for (const auto& copy : options_.copies) {
      const auto stream = static_cast<std::uint64_t>(copy.second);
      Matrix& map = experts_[static_cast<std::size_t>(copy.second)];
      map = experts_[static_cast<std::size_t>(copy.first)];
      Add(map.values(),
          Normal(map.rows(), map.cols(), scale * copy.difference, HashWords({4, stream})).values());
      const auto source = router_.row(copy.first);
      std::copy(source.begin(), source.end(), router_.row(copy.second).begin());
      Add(router_.row(copy.second),
          Normal(1, options_.hidden, 2 * scale * copy.row_difference, HashWords({5, stream}))
              .values());
    }
    for (float& value : router_.values()) value = RoundToBf16(value);
  }

  static void Add(std::span<float> values, std::span<const float> more) {
    for (std::size_t n = 0; n < values.size(); ++n) values[n] += more[n];
  }

  Matrix Logits(const Matrix& x) const {
    return Linear(Fp32Arithmetic(), Role::kRouter, *MakeDenseMatrix(router_), x,
                  options_.spec.logit_bias);
  }

  void MakeRecord() {
    MakeRouterRecord();
    record_.logits = Logits(x_);
    record_.probe_logits = Logits(probe_x_);
    record_.profile_logits = record_.logits;
    Add(record_.profile_logits.values(),
        Normal(tokens(), options_.spec.experts, options_.logit_noise, 6).values());
    record_.x = x_;
    const Routing routing = Route(options_.spec, record_.logits, Fp32Arithmetic());
    for (std::int64_t t = 0; t < tokens(); ++t) {
      const std::vector<double> y = LayerOutput(routing.ids_of(t), routing.weights_of(t), t);
      record_.y_norm.push_back(static_cast<float>(Norm(y)));
      record_.x_norm.push_back(static_cast<float>(std::sqrt(SquaredNorm(x_.row(t)))));
      record_.profile_change.push_back(static_cast<float>(options_.profile_change));
    }
    MakeSamples(routing);
    MakePairs();
    MakeGram();
  }

  template <typename T>
  static void Append(std::vector<std::byte>& bytes, T value) {
    const auto* first = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), first, first + sizeof value);
  }

  void MakeRouterRecord() {
    RouterRecord& router = record_.router;
    router.weight_tensor = "layers.0.gate.weight";
    for (const float value : router_.values()) Append(router.weight, FloatToBf16(value));
    if (!options_.spec.logit_bias.empty()) {
      router.logit_bias_tensor = "layers.0.gate.bias";
      for (const float value : options_.spec.logit_bias) {
        Append(router.logit_bias, FloatToBf16(value));
      }
    }
    if (!options_.spec.selection_bias.empty()) {
      router.selection_bias_tensor = "layers.0.gate.e_score_correction_bias";
      for (const float value : options_.spec.selection_bias) Append(router.selection_bias, value);
    }
    router.spec = ToJson(options_.spec);
  }

  void MakeSamples(const Routing& routing) {
    const auto experts = static_cast<std::size_t>(options_.spec.experts);
    std::vector<std::vector<std::pair<std::uint64_t, std::int32_t>>> hashed(experts);
    for (std::int64_t t = 0; t < tokens(); ++t) {
      for (const std::int32_t e : routing.ids_of(t)) {
        const auto token = static_cast<std::uint64_t>(t);
        hashed[static_cast<std::size_t>(e)].emplace_back(
            HashWords({7, static_cast<std::uint64_t>(e), token}), static_cast<std::int32_t>(t));
      }
    }
    record_.samples.resize(experts);
    for (std::size_t e = 0; e < experts; ++e) {
      std::sort(hashed[e].begin(), hashed[e].end());
      for (std::size_t n = 0; n < std::min<std::size_t>(hashed[e].size(), 512); ++n) {
        const double nu = options_.noise * (0.8 + 0.4 * UniformAt(HashWords({8, e}), n));
        record_.samples[e].tokens.push_back(hashed[e][n].second);
        record_.samples[e].noise.push_back(static_cast<float>(nu));
      }
    }
  }

  void MeasureSide(std::int32_t i, std::int32_t j, const ExpertSample& sample,
                   std::vector<float>& difference, std::vector<float>& larger) const {
    for (const std::int32_t t : sample.tokens) {
      const auto a = Output(i, t), b = Output(j, t);
      difference.push_back(static_cast<float>(Distance(a, b)));
      larger.push_back(static_cast<float>(std::max(Norm(a), Norm(b))));
    }
  }

  void MakePairs() {
    const auto experts = static_cast<std::int32_t>(options_.spec.experts);
    record_.nearest.assign(static_cast<std::size_t>(experts), -1);
    record_.nearest_distance.assign(static_cast<std::size_t>(experts), 0.0f);
    for (std::int32_t i = 0; i < experts; ++i) {
      for (std::int32_t j = i + 1; j < experts; ++j) {
        PairRecord pair;
        pair.i = i;
        pair.j = j;
        pair.candidate = true;
        MeasureSide(i, j, record_.samples[static_cast<std::size_t>(i)], pair.difference_on_i,
                    pair.larger_norm_on_i);
        MeasureSide(i, j, record_.samples[static_cast<std::size_t>(j)], pair.difference_on_j,
                    pair.larger_norm_on_j);
        for (std::int64_t t = 0; t < options_.probe_tokens; ++t) {
          const auto a = Apply(experts_[static_cast<std::size_t>(i)], probe_x_.row(t));
          const auto b = Apply(experts_[static_cast<std::size_t>(j)], probe_x_.row(t));
          pair.probe_distance.push_back(
              static_cast<float>(Distance(a, b) / std::max(Norm(a), Norm(b))));
        }
        record_.pairs.push_back(std::move(pair));
      }
    }
  }

  void MakeGram() {
    const std::int64_t r = std::min(2 * options_.spec.top_k, options_.spec.experts);
    record_.ranked_per_token = r;
    record_.ranked = BestExperts(options_.spec, record_.logits, r);
    for (std::int64_t t = 0; t < tokens(); ++t) {
      std::vector<std::vector<double>> outputs;
      for (std::int64_t n = 0; n < r; ++n) {
        outputs.push_back(Output(record_.ranked[static_cast<std::size_t>(t * r + n)], t));
      }
      outputs.push_back(Apply(shared_, x_.row(t)));
      for (std::size_t a = 0; a < outputs.size(); ++a) {
        for (std::size_t b = a; b < outputs.size(); ++b) {
          double product = 0;
          for (std::size_t h = 0; h < outputs[a].size(); ++h) {
            product += outputs[a][h] * outputs[b][h];
          }
          record_.gram.push_back(product);
        }
      }
    }
  }

  SyntheticOptions options_;
  ScanHeader header_;
  LayerRecord record_;
  Matrix router_, shared_, x_, probe_x_;
  std::vector<Matrix> experts_;
};

}  // namespace cacheready
