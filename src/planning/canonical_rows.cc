// A row inside the span of the members' rows has a logit that is the same mixture of their logits,
// so a mean is close to every member when the members' rows are close to each other; a member's own
// row is never rounded. Which is better depends on the tokens near the boundary, so all are tried
// by replay. Rounding comes before scoring: only what will be stored is judged.
// SPDX-License-Identifier: Apache-2.0
#include "planning/canonical_rows.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "arithmetic/profile.h"
#include "base/error.h"
#include "base/hash.h"
#include "formats/encoded_matrix.h"
#include "tensor/float_formats.h"
#include "tensor/tensor_view.h"

namespace cacheready {
namespace {

std::size_t BytesOf(Dtype dtype) { return static_cast<std::size_t>(DtypeBits(dtype)) / 8; }

// One of the router's stored tensors: [experts, cols].
struct StoredRows {
  const std::string& tensor;
  Dtype dtype;
  std::span<const std::byte> bytes;
  std::size_t cols;

  std::span<const std::byte> Row(std::int32_t expert) const {
    const std::size_t size = cols * BytesOf(dtype);
    return bytes.subspan(static_cast<std::size_t>(expert) * size, size);
  }
};

StoredRows WeightRows(const RouterRecord& router) {
  const Json& spec = router.spec;
  const std::int64_t experts = GetInt(spec, "experts", "router spec");
  const std::size_t row = router.weight.size() / static_cast<std::size_t>(experts);
  return {router.weight_tensor, router.weight_dtype, router.weight,
          row / BytesOf(router.weight_dtype)};
}
StoredRows LogitBiasRows(const RouterRecord& router) {
  return {router.logit_bias_tensor, router.logit_bias_dtype, router.logit_bias, 1};
}
StoredRows SelectionBiasRows(const RouterRecord& router) {
  return {router.selection_bias_tensor, router.selection_bias_dtype, router.selection_bias, 1};
}

std::vector<float> Decode(const StoredRows& rows, std::span<const std::byte> bytes) {
  TensorView view;
  view.name = rows.tensor;
  view.dtype = rows.dtype;
  view.shape = {static_cast<std::int64_t>(rows.cols)};
  view.bytes = bytes;
  view.file = "layer record";
  return ReadFloats(view);
}

template <typename T>
void AppendBytes(std::vector<std::byte>& bytes, T value) {
  const std::size_t size = bytes.size();
  bytes.resize(size + sizeof value);
  std::memcpy(bytes.data() + size, &value, sizeof value);
}

std::vector<std::byte> Encode(const StoredRows& rows, std::span<const double> values) {
  std::vector<std::byte> bytes;
  for (const double value : values) {
    const auto rounded = static_cast<float>(value);
    switch (rows.dtype) {
      case Dtype::kBF16:
        AppendBytes(bytes, FloatToBf16(rounded));
        break;
      case Dtype::kF16:
        AppendBytes(bytes, FloatToF16(rounded));
        break;
      case Dtype::kF32:
        AppendBytes(bytes, rounded);
        break;
      default:
        Fail("tensor '{}' is {}: only BF16, F16 and F32 routers can be planned for", rows.tensor,
             DtypeName(rows.dtype));
    }
  }
  return bytes;
}

// sum_m coefficients[m] * row of members[m], in stored bytes. A single coefficient of 1 copies.
std::vector<std::byte> Mix(const StoredRows& rows, std::span<const std::int32_t> members,
                           std::span<const double> coefficients) {
  std::vector<double> sum(rows.cols, 0.0);
  for (std::size_t m = 0; m < members.size(); ++m) {
    if (coefficients[m] == 1.0) {
      const auto row = rows.Row(members[m]);
      return {row.begin(), row.end()};
    }
    if (coefficients[m] == 0.0) continue;
    const std::vector<float> row = Decode(rows, rows.Row(members[m]));
    for (std::size_t h = 0; h < sum.size(); ++h) {
      sum[h] += coefficients[m] * static_cast<double>(row[h]);
    }
  }
  return Encode(rows, sum);
}

RowCandidate MakeCandidate(const RouterRecord& router, std::span<const std::int32_t> members,
                           std::span<const double> coefficients, std::string rule) {
  RowCandidate candidate;
  candidate.rule = std::move(rule);
  const StoredRows weights = WeightRows(router);
  candidate.weight = Mix(weights, members, coefficients);
  candidate.weight_values = Decode(weights, candidate.weight);
  if (!router.logit_bias.empty()) {
    candidate.logit_bias = Mix(LogitBiasRows(router), members, coefficients);
    candidate.logit_bias_value = Decode(LogitBiasRows(router), candidate.logit_bias)[0];
  }
  if (!router.selection_bias.empty()) {
    candidate.selection_bias = Mix(SelectionBiasRows(router), members, coefficients);
    candidate.selection_bias_value = Decode(SelectionBiasRows(router), candidate.selection_bias)[0];
  }
  return candidate;
}

bool SameBytes(const RowCandidate& a, const RowCandidate& b) {
  return a.weight == b.weight && a.logit_bias == b.logit_bias &&
         a.selection_bias == b.selection_bias;
}

PlannedTensor Planned(const StoredRows& rows, std::span<const std::int32_t> members,
                      const std::vector<std::byte>& row) {
  PlannedTensor planned;
  planned.tensor = rows.tensor;
  planned.dtype = rows.dtype;
  planned.row = row;
  for (const std::int32_t member : members) {
    planned.replaced_sha256.push_back(Sha256Hex(rows.Row(member)));
  }
  return planned;
}

}  // namespace

std::vector<RowCandidate> CandidateRows(const RouterRecord& router,
                                        std::span<const std::int32_t> members,
                                        std::span<const double> usage) {
  CR_CHECK(members.size() >= 2 && usage.size() == members.size(), "{} members, {} usages",
           members.size(), usage.size());
  std::vector<RowCandidate> candidates;
  const auto add = [&](std::span<const double> coefficients, std::string rule) {
    RowCandidate candidate = MakeCandidate(router, members, coefficients, std::move(rule));
    const bool known =
        std::any_of(candidates.begin(), candidates.end(),
                    [&](const RowCandidate& earlier) { return SameBytes(earlier, candidate); });
    if (!known) candidates.push_back(std::move(candidate));
  };
  const std::size_t count = members.size();
  std::vector<double> coefficients(count, 1.0 / static_cast<double>(count));
  add(coefficients, "mean");
  const double total = std::accumulate(usage.begin(), usage.end(), 0.0);
  if (total > 0) {
    for (std::size_t m = 0; m < count; ++m) coefficients[m] = usage[m] / total;
    add(coefficients, "usage-weighted mean");
  }
  for (std::size_t m = 0; m < count; ++m) {
    std::fill(coefficients.begin(), coefficients.end(), 0.0);
    coefficients[m] = 1.0;
    add(coefficients, fmt::format("row of expert {}", members[m]));
  }
  return candidates;
}

Matrix CandidateLogits(const Matrix& x, std::span<const RowCandidate> rows) {
  Matrix weight(static_cast<std::int64_t>(rows.size()), x.cols());
  std::vector<float> bias;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    CR_CHECK(static_cast<std::int64_t>(rows[r].weight_values.size()) == x.cols(),
             "a row of {} values for a hidden size of {}", rows[r].weight_values.size(), x.cols());
    std::copy(rows[r].weight_values.begin(), rows[r].weight_values.end(),
              weight.row(static_cast<std::int64_t>(r)).begin());
    if (!rows[r].logit_bias.empty()) bias.push_back(rows[r].logit_bias_value);
  }
  return Linear(Fp32Arithmetic(), Role::kRouter, *MakeDenseMatrix(std::move(weight)), x, bias);
}

std::vector<PlannedTensor> PlannedTensors(const RouterRecord& router,
                                          std::span<const std::int32_t> members,
                                          const RowCandidate& row) {
  std::vector<PlannedTensor> tensors{Planned(WeightRows(router), members, row.weight)};
  if (!router.logit_bias.empty()) {
    tensors.push_back(Planned(LogitBiasRows(router), members, row.logit_bias));
  }
  if (!router.selection_bias.empty()) {
    tensors.push_back(Planned(SelectionBiasRows(router), members, row.selection_bias));
  }
  return tensors;
}

}  // namespace cacheready
