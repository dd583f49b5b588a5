// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "checkpoint/checkpoint.h"
#include "model/model.h"
#include "support/golden.h"
#include "synth/fused_twin.h"

namespace cacheready {
namespace {

const std::filesystem::path kSource = CACHEREADY_SOURCE_DIR;

void ExpectAgreement(const GoldenCase& golden) {
  const GoldenReport report = CompareWithGolden(golden);
  EXPECT_TRUE(report.disagreements.empty());
  EXPECT_FALSE(report.compared.empty());
  std::printf("%s\n%s", golden.checkpoint.c_str(), Text(report).c_str());
}

TEST(Qwen35MoeGolden, ReferenceFp8AgreesWithTransformers) {
  ExpectAgreement({.checkpoint = kSource / "models/reference-fp8",
                   .golden = kSource / "goldens/reference-fp8/golden.safetensors"});
}

TEST(Qwen35MoeGolden, UpcycledFp8AgreesWithTransformers) {
  ExpectAgreement({.checkpoint = kSource / "models/upcycled-fp8",
                   .golden = kSource / "goldens/upcycled-fp8/golden.safetensors"});
}

TEST(Qwen35MoeGolden, FusedTwinOfReferenceFp8AgreesWithTransformers) {
  const std::filesystem::path twin = std::filesystem::temp_directory_path() /
                                     ("cacheready-golden-fused-twin-" + std::to_string(getpid()));
  std::filesystem::remove_all(twin);
  WriteFusedTwin(Checkpoint::Open(kSource / "models/reference-fp8"), {.dtype = Dtype::kF32}, twin);
  const Checkpoint opened = Checkpoint::Open(twin);
  EXPECT_EQ(DescribeModel(opened)->info().expert_layout, "fused");
  EXPECT_EQ(DescribeModel(opened)->info().expert_format, "f32");
  ExpectAgreement(
      {.checkpoint = twin, .golden = kSource / "goldens/reference-fp8/golden.safetensors"});
  std::filesystem::remove_all(twin);
}

}  // namespace
}  // namespace cacheready
