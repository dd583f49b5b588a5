// SPDX-License-Identifier: Apache-2.0
#include "synth/fused_twin.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "synth/scratch_folder.h"
#include "tensor/float_formats.h"
#include "tensor/tensor_view.h"

namespace cacheready {
namespace {

const std::string kBlock = "model.language_model.layers.1.mlp.";

// Element [row, col] of an FP8 matrix by the definition of the format, independent of formats/.
float Fp8Element(const Checkpoint& source, const std::string& module, std::int64_t row,
                 std::int64_t col) {
  const TensorView& weight = source.GetTensor(module + ".weight");
  const TensorView& scale = source.GetTensor(module + ".weight_scale_inv");
  const auto code = static_cast<std::uint8_t>(
      weight.bytes[static_cast<std::size_t>(row * weight.shape[1] + col)]);
  const std::vector<float> scales = ReadFloats(scale);
  return E4m3ToFloat(code) *
         scales[static_cast<std::size_t>((row / 128) * scale.shape[1] + col / 128)];
}

TEST(FusedTwin, HoldsExactlyCodeTimesScaleInFp32) {
  const ScratchFolder scratch;
  const Checkpoint source = Checkpoint::Open(ReferenceFp8());
  WriteFusedTwin(source, {Dtype::kF32, 16 << 20}, scratch / "twin");
  const Checkpoint twin = Checkpoint::Open(scratch / "twin");
  const std::int64_t experts = 32, width = 128, hidden = 256;
  const TensorView& gate_up = twin.GetTensor(kBlock + "experts.gate_up_proj");
  const TensorView& down = twin.GetTensor(kBlock + "experts.down_proj");
  ASSERT_EQ(gate_up.dtype, Dtype::kF32);
  ASSERT_EQ(gate_up.shape, (std::vector<std::int64_t>{experts, 2 * width, hidden}));
  ASSERT_EQ(down.shape, (std::vector<std::int64_t>{experts, hidden, width}));
  const std::vector<float> gate_up_values = ReadFloats(gate_up), down_values = ReadFloats(down);
  for (std::int64_t e : {0, 10, 31}) {
    const std::string expert = kBlock + "experts." + std::to_string(e) + ".";
    for (std::int64_t row = 0; row < width; row += 37) {
      for (std::int64_t col = 0; col < hidden; col += 41) {
        const auto at = [&](std::int64_t r) {
          return gate_up_values[static_cast<std::size_t>((e * 2 * width + r) * hidden + col)];
        };
        EXPECT_EQ(at(row), Fp8Element(source, expert + "gate_proj", row, col));
        EXPECT_EQ(at(width + row), Fp8Element(source, expert + "up_proj", row, col));
        EXPECT_EQ(down_values[static_cast<std::size_t>((e * hidden + col) * width + row)],
                  Fp8Element(source, expert + "down_proj", col, row));
      }
    }
  }
}

TEST(FusedTwin, RoundsToBf16OnceAndKeepsGatesByteForByte) {
  const ScratchFolder scratch;
  const Checkpoint source = Checkpoint::Open(ReferenceFp8());
  WriteFusedTwin(source, {}, scratch / "twin");
  const Checkpoint twin = Checkpoint::Open(scratch / "twin");
  const std::string query = "model.language_model.layers.3.self_attn.q_proj";
  const TensorView& plain = twin.GetTensor(query + ".weight");
  ASSERT_EQ(plain.dtype, Dtype::kBF16);
  EXPECT_EQ(twin.FindTensor(query + ".weight_scale_inv"), nullptr);
  const std::vector<float> values = ReadFloats(plain);
  for (std::int64_t row : {0, 200, 511}) {
    EXPECT_EQ(values[static_cast<std::size_t>(row * 256 + 130)],
              RoundToBf16(Fp8Element(source, query, row, 130)));
  }
  for (const std::string& name :
       {kBlock + "gate.weight", std::string("mtp.layers.0.mlp.gate.weight"),
        std::string("model.language_model.layers.0.linear_attn.A_log")}) {
    EXPECT_EQ(BytesOf(twin, name), BytesOf(source, name)) << name;
  }
}

// The layout of Qwen's bf16 files: two fused tensors replace the experts of a main layer, MTP
// experts stay one by one, no scale is left.
TEST(FusedTwin, HasTheTensorsOfTheBf16Layout) {
  const ScratchFolder scratch;
  const Checkpoint source = Checkpoint::Open(ReferenceFp8());
  WriteFusedTwin(source, {}, scratch / "twin");
  const Checkpoint twin = Checkpoint::Open(scratch / "twin");
  std::size_t expected = 0;
  for (std::string_view name : source.TensorNames()) {
    const bool main_expert = name.find(".mlp.experts.") != name.npos && !name.starts_with("mtp.");
    if (main_expert || name.ends_with("_scale_inv")) continue;
    ++expected;
    ASSERT_NE(twin.FindTensor(name), nullptr) << name;
    EXPECT_EQ(twin.GetTensor(name).shape, source.GetTensor(name).shape) << name;
  }
  EXPECT_EQ(twin.num_tensors(), expected + 2 * 4);
  EXPECT_EQ(twin.num_tensors(), 206u);  // the bf16 release of the reference model
  EXPECT_TRUE(twin.FindTensor("mtp.layers.0.mlp.experts.31.up_proj.weight"));
  EXPECT_FALSE(twin.config().contains("quantization_config"));
  EXPECT_TRUE(std::filesystem::exists(scratch / "twin" / "tokenizer.json"));
}

TEST(FusedTwin, RefusesExpertsThatAreFusedAlready) {
  const ScratchFolder scratch;
  WriteFusedTwin(Checkpoint::Open(ReferenceFp8()), {}, scratch / "twin");
  EXPECT_THROW(WriteFusedTwin(Checkpoint::Open(scratch / "twin"), {}, scratch / "again"), Error);
}

}  // namespace
}  // namespace cacheready
