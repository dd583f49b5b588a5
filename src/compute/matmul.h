// y = x Wᵀ with encoded weights: rows of W are decoded strip by strip into cache, never as a whole.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "compute/kernels.h"
#include "formats/encoded_matrix.h"
#include "tensor/aligned.h"
#include "tensor/matrix.h"

namespace cacheready {

// x transposed for the kernels, panel by panel: [panel][cols][kTokenPanel], zero padded. Reusable
// for several weights.
class PackedTokens {
 public:
  explicit PackedTokens(const RowsView& x);
  std::int64_t tokens() const { return tokens_; }
  std::int64_t padded() const { return panels() * kTokenPanel; }
  std::int64_t panels() const { return (tokens_ + kTokenPanel - 1) / kTokenPanel; }
  std::int64_t cols() const { return cols_; }
  const float* panel(std::int64_t p) const { return values_.data() + p * cols_ * kTokenPanel; }
  // Tokens of panel p that a kernel must compute: kTokenPanel, or fewer in the last one.
  std::int64_t PanelTokens(std::int64_t p) const;

 private:
  std::int64_t tokens_ = 0, cols_ = 0;
  UnsetVector<float> values_;
};

// How weights become the numbers that are multiplied.
enum class WeightReading {
  kStored,       // as the format defines them in fp32
  kRoundedBf16,  // and rounded once to bf16
};

struct MatMulOptions {
  WeightReading reading = WeightReading::kStored;
  std::optional<std::uint64_t> dither_seed = {};  // add the seeded +-1/2 step first
};

// out[t, n] = chain over k of w[n, k] * x[t, k]. Parallel over strips of n; same bits for any
// thread count and batch.
Matrix MatMul(const EncodedMatrix& w, const PackedTokens& x, const MatMulOptions& options = {});

// Tokens quantized per token and group of `group` columns to e4m3 (dynamic, the last group ragged):
// scale = max(max|x|, 1e-10) / 448, code = e4m3(x / scale), in fp32 as vLLM's
// per_token_group_quant_fp8.
struct QuantizedTokens {
  Matrix codes;               // e4m3 values as floats
  std::vector<float> scales;  // [groups][tokens, padded to whole panels]; 0 in the padding
  std::int64_t group = 128;
};
QuantizedTokens QuantizeTokensE4m3(const RowsView& x, std::int64_t group);

// The same for the kernels.
struct PackedQuantizedTokens {
  PackedQuantizedTokens(const QuantizedTokens& x)  // NOLINT: the same numbers
      : codes(x.codes), scales(x.scales), group(x.group) {}
  PackedTokens codes;
  std::vector<float> scales;
  std::int64_t group;
};

// fp8 x fp8: for each block of columns an exact-code chain, then acc = fma(block sum, scale_w *
// scale_x, acc), blocks in increasing order. Requires w.block_shape().cols == x.group (or w without
// blocks: scale 1).
Matrix MatMulScaled(const EncodedMatrix& w, const PackedQuantizedTokens& x,
                    std::optional<std::uint64_t> dither_seed = {});

}  // namespace cacheready
