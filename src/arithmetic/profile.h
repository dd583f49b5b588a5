// A profile: how the model is served. One table says for every preset where values are rounded.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "arithmetic/numerics.h"
#include "compute/matmul.h"
#include "compute/matmul_bf16.h"
#include "formats/encoded_matrix.h"
#include "tensor/matrix.h"

namespace cacheready {

// Where a served model rounds. A family calls Round(arithmetic, point, values) at each; the profile
// decides what it does.
enum class RoundingPoint : std::uint8_t {
  kEmbedding,
  kNorm,
  kLinear,
  kRotary,
  kConvolutionSum,
  kConvolution,
  kAttentionProbabilities,
  kAttentionOutput,
  kNormalizedKeys,
  kUpdateStrength,
  kRecurrence,
  kUngatedNorm,
  kGate,
  kSilu,
  kSiluUp,
  kWeightedExpert,
  kExpertSum,
  kResidual,
  kRouterLogits,
  kRouterWeights,
  kLogits,
  kCount,
};

enum class Rounding : std::uint8_t { kNone, kBf16 };

// What a linear call is for, so that a profile can treat kinds apart without knowing families.
enum class Role : std::uint8_t {
  kMixerInput,
  kMixerOutput,
  kRouter,
  kFp32Router,  // of families whose engines hold the gate, and keep its logits, in fp32
  kExpert,
  kSharedExpert,
  kDenseFfn,
  kGate,
  kHead
};

enum class TieRule : std::uint8_t { kLowest, kHighest };

struct Profile {
  std::string_view name;
  std::string_view description;  // one sentence for people
  std::array<Rounding, static_cast<std::size_t>(RoundingPoint::kCount)> rounding{};
  WeightReading reading = WeightReading::kStored;
  bool quantize_activations_e4m3 =
      false;  // linears whose weight is fp8-block: dynamic e4m3 per token and 128 columns
  bool expert_sum_in_topk_order = true;  // else in expert order
  TieRule tie_rule = TieRule::kLowest;

  Rounding at(RoundingPoint point) const { return rounding[static_cast<std::size_t>(point)]; }
};

std::span<const Profile> Profiles();               // "fp32", "bf16-tp1", "fp8-w8a8", ...
const Profile& GetProfile(std::string_view name);  // Fails listing the names
// The profile a checkpoint is served at by default: fp8-w8a8 for FP8 blocks, bf16-tp1 for bf16.
const Profile& DefaultProfile(std::string_view expert_format);
// The profile of that name; of "", the default one.
const Profile& ChooseProfile(std::string_view name, std::string_view expert_format);

// The way one pass computes: a profile, (for rendition noise) a dither of the stored weights, and
// the class of its matrix products.
struct Arithmetic {
  const Profile* profile = nullptr;
  std::optional<std::uint64_t> dither_seed = {};
  Numerics numerics = Numerics::kFp32Chain;
};
// The profile "fp32": nothing is rounded but, in a bf16 class, the operands of its products.
Arithmetic Fp32Arithmetic(Numerics numerics = Numerics::kFp32Chain);

void Round(const Arithmetic& arithmetic, RoundingPoint point, std::span<float> values);

// x [tokens, in] -> [tokens, out], rounded at kLinear (kRouterLogits for Role::kRouter, kLogits for
// kHead, not at all for kFp32Router). A router is always an unquantized fixed-order fp32 dot
// product, and so are kGate and kHead: a bf16 class is for mixers, experts and dense feed-forwards.
// `bias` may be empty.
Matrix Linear(const Arithmetic& arithmetic, Role role, const EncodedMatrix& weight, const Matrix& x,
              std::span<const float> bias = {});

// x of several linears (gate and up; q, k and v): packed and quantized once, when first needed.
// Valid while what x views lives; for one thread.
class LinearInput {
 public:
  explicit LinearInput(const RowsView& x) : x_(x) {}
  const PackedTokens& packed();
  const PackedQuantizedTokens& packed_quantized(std::int64_t group);
  // For weights whose scales are in blocks of `block` columns, see Bf16BlockColumns.
  const Bf16Tokens& bf16(std::int64_t block);
  const Bf16Tokens& quantized_bf16(std::int64_t group);

 private:
  RowsView x_;
  std::optional<PackedTokens> packed_;
  std::optional<PackedQuantizedTokens> packed_quantized_;
  std::optional<Bf16Tokens> bf16_, quantized_bf16_;
  std::int64_t bf16_block_ = 0, quantized_bf16_group_ = 0;
};
Matrix Linear(const Arithmetic& arithmetic, Role role, const EncodedMatrix& weight, LinearInput& x,
              std::span<const float> bias = {});

}  // namespace cacheready
