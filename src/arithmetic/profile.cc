// The table of profiles. Read it by line: one rounding point, what each preset does there.
//
// fp32         the reference: nothing is rounded, weights are read as their format defines them.
//              Experts are summed by expert, so that a near tie inside a selection cannot matter.
// bf16-tp1     vLLM on one GPU, bf16 activations, weights dequantized to bf16.
// bf16-eager   transformers' eager mode: as bf16-tp1, but routing weights in bf16, the experts'
//              outputs summed in expert order, and a rounding after each operator of DeltaNet.
// fp8-w8a8     bf16-tp1, but a linear over fp8 blocks multiplies dynamic e4m3 activations (per
// token
//              and block of columns) by the exact codes, scales applied in fp32.
//
// Everywhere: sums inside a matrix product, norms, softmax, sigmoid and the delta rule's state are
// fp32 or better, as in those engines' kernels; only what they write to memory is rounded. The
// router's scores (softmax, sigmoid) are fp32 of the rounded logits.
// SPDX-License-Identifier: Apache-2.0
#include "arithmetic/profile.h"

#include <iterator>
#include <string>

#include "base/error.h"
#include "compute/sequence_ops.h"

namespace cacheready {
namespace {

constexpr Rounding kNone = Rounding::kNone;
constexpr Rounding kBf16 = Rounding::kBf16;

enum Preset : std::size_t { kFp32, kBf16Tp1, kBf16Eager, kFp8W8a8, kPresets };

struct RoundingLine {
  RoundingPoint point;
  Rounding presets[kPresets];
};

// clang-format off
constexpr RoundingLine kRoundings[] = {
    //                                       fp32   bf16-tp1 bf16-eager fp8-w8a8
    {RoundingPoint::kEmbedding,              {kNone, kBf16,   kBf16,     kBf16}},
    {RoundingPoint::kNorm,                   {kNone, kBf16,   kBf16,     kBf16}},
    {RoundingPoint::kLinear,                 {kNone, kBf16,   kBf16,     kBf16}},
    {RoundingPoint::kRotary,                 {kNone, kBf16,   kBf16,     kBf16}},
    // Gated DeltaNet in transformers' eager mode is made of separate operators that round: the
    // convolution before its SiLU, unit q and k, beta, the norm before its gate. The engines'
    // kernels keep these in fp32.
    {RoundingPoint::kConvolutionSum,         {kNone, kNone,   kBf16,     kNone}},
    {RoundingPoint::kConvolution,            {kNone, kBf16,   kBf16,     kBf16}},
    // Flash kernels feed exp(s - max) to the second product in bf16, the sum stays fp32.
    {RoundingPoint::kAttentionProbabilities, {kNone, kBf16,   kBf16,     kBf16}},
    {RoundingPoint::kAttentionOutput,        {kNone, kBf16,   kBf16,     kBf16}},
    {RoundingPoint::kNormalizedKeys,         {kNone, kNone,   kBf16,     kNone}},
    {RoundingPoint::kUpdateStrength,         {kNone, kNone,   kBf16,     kNone}},
    // Output of the delta rule; its state is fp32 in every preset.
    {RoundingPoint::kRecurrence,             {kNone, kBf16,   kBf16,     kBf16}},
    {RoundingPoint::kUngatedNorm,            {kNone, kNone,   kBf16,     kNone}},
    {RoundingPoint::kGate,                   {kNone, kBf16,   kBf16,     kBf16}},
    // silu_and_mul rounds the silu, then the product.
    {RoundingPoint::kSilu,                   {kNone, kBf16,   kBf16,     kBf16}},
    {RoundingPoint::kSiluUp,                 {kNone, kBf16,   kBf16,     kBf16}},
    // vLLM's Triton kernel weights the fp32 sum before it rounds; here, as in transformers, the
    // expert's output is rounded at kLinear first: one rounding more.
    {RoundingPoint::kWeightedExpert,         {kNone, kBf16,   kBf16,     kBf16}},
    // After every addition: vLLM's moe_sum and transformers' index_add_ accumulate in bf16.
    {RoundingPoint::kExpertSum,              {kNone, kBf16,   kBf16,     kBf16}},
    {RoundingPoint::kResidual,               {kNone, kBf16,   kBf16,     kBf16}},
    // Qwen and Mixtral routers are plain bf16 linears in vLLM, SGLang and transformers. Those of
    // Role::kFp32Router (DeepSeek, GLM, MiniMax) are not rounded in any preset.
    {RoundingPoint::kRouterLogits,           {kNone, kBf16,   kBf16,     kBf16}},
    // vLLM keeps them fp32; transformers casts them to the model's dtype.
    {RoundingPoint::kRouterWeights,          {kNone, kNone,   kBf16,     kNone}},
    {RoundingPoint::kLogits,                 {kNone, kBf16,   kBf16,     kBf16}},
};
// clang-format on
static_assert(std::size(kRoundings) == static_cast<std::size_t>(RoundingPoint::kCount));

constexpr bool LinesAreInOrder() {
  for (std::size_t i = 0; i < std::size(kRoundings); ++i) {
    if (static_cast<std::size_t>(kRoundings[i].point) != i) return false;
  }
  return true;
}
static_assert(LinesAreInOrder(), "one line for every rounding point, in the order of the enum");

constexpr Profile WithRoundings(Preset preset, Profile profile) {
  for (std::size_t i = 0; i < std::size(kRoundings); ++i) {
    profile.rounding[i] = kRoundings[i].presets[preset];
  }
  return profile;
}

constexpr std::array<Profile, kPresets> kProfiles = {
    WithRoundings(kFp32, {.name = "fp32",
                          .description = "fp32 reference: no rounding between operators",
                          .expert_sum_in_topk_order = false}),
    WithRoundings(kBf16Tp1, {.name = "bf16-tp1",
                             .description = "bf16 activations and weights, one GPU, as vLLM",
                             .reading = WeightReading::kRoundedBf16}),
    WithRoundings(kBf16Eager,
                  {.name = "bf16-eager",
                   .description = "bf16 activations and weights, as transformers' eager mode",
                   .reading = WeightReading::kRoundedBf16,
                   .expert_sum_in_topk_order = false}),
    WithRoundings(kFp8W8a8,
                  {.name = "fp8-w8a8",
                   .description = "FP8 block weights times dynamic FP8 activations, bf16 between",
                   .reading = WeightReading::kRoundedBf16,
                   .quantize_activations_e4m3 = true}),
};

}  // namespace

std::span<const Profile> Profiles() { return kProfiles; }

const Profile& GetProfile(std::string_view name) {
  std::string names;
  for (const Profile& profile : kProfiles) {
    if (profile.name == name) return profile;
    names += (names.empty() ? "" : ", ") + std::string(profile.name);
  }
  Fail("unknown profile '{}'; known profiles: {}", name, names);
}

const Profile& DefaultProfile(std::string_view expert_format) {
  return kProfiles[expert_format == "fp8-block" ? kFp8W8a8 : kBf16Tp1];
}

const Profile& ChooseProfile(std::string_view name, std::string_view expert_format) {
  return name.empty() ? DefaultProfile(expert_format) : GetProfile(name);
}

Arithmetic Fp32Arithmetic(Numerics numerics) {
  return {.profile = &kProfiles[kFp32], .dither_seed = {}, .numerics = numerics};
}

void Round(const Arithmetic& arithmetic, RoundingPoint point, std::span<float> values) {
  if (arithmetic.profile->at(point) == Rounding::kBf16) RoundToBf16(values);
}

}  // namespace cacheready
