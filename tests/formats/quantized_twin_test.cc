// Whole models with quantized experts against the same models with the decoded weights.
// SPDX-License-Identifier: Apache-2.0
#include "synth/quantized_twin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "formats/plain_decoding.h"
#include "io/publish.h"
#include "model/model.h"
#include "stream/forward.h"
#include "support/changed_checkpoint.h"
#include "support/tied_pair.h"
#include "synth/fused_twin.h"
#include "synth/quantizers.h"
#include "synth/stored_floats.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

const fs::path kSource = CACHEREADY_SOURCE_DIR;
const fs::path kTextOnly = kSource / "goldens/families/qwen3_5_moe_text";

// A folder that is gone when the test ends.
class Scratch {
 public:
  explicit Scratch(const std::string& name)
      : path_(fs::temp_directory_path() / fmt::format("cacheready-{}-{}", name, getpid())) {
    fs::remove_all(path_);
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

ForwardOutputs Forward(const Checkpoint& checkpoint) {
  TokenBatch batch;
  for (std::int32_t n = 0; n < 40; ++n) batch.ids.push_back(n * 7 % 320);
  batch.bounds = {0, 15, 40};
  return RunForward(*DescribeModel(checkpoint), batch, Fp32Arithmetic());
}

// Modules of experts in a twin: all that stands before the first suffix of a part.
std::set<std::string> ExpertModules(const Checkpoint& twin, const Quantizer& quantizer) {
  const std::string suffix = quantizer.quantize(Matrix(32, 32)).front().suffix;
  std::set<std::string> modules;
  for (const std::string_view name : twin.TensorNames()) {
    if (name.find(".experts.") != name.npos && name.ends_with(suffix)) {
      modules.emplace(name.substr(0, name.size() - suffix.size()));
    }
  }
  return modules;
}

// Replaces the quantized weights of the twin by what the test decodes.
void DecodeExperts(const Checkpoint& twin, const Quantizer& quantizer, ChangedCheckpoint& plain) {
  for (const std::string& module : ExpertModules(twin, quantizer)) {
    std::vector<std::string> names;
    const DecodedWeight weight = DecodePlainly(twin, quantizer.name, module, names);
    for (const std::string& name : std::set<std::string>(names.begin(), names.end())) {
      plain.Remove(name);
    }
    plain.tensors.push_back({quantizer.fused ? module : module + ".weight", Dtype::kF32,
                             weight.shape, StoreFloats(weight.values, Dtype::kF32)});
  }
  plain.config.erase("quantization_config");
}

double RelativeL2(const Matrix& a, const Matrix& b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < b.values().size(); ++i) {
    const double right = b.values()[i];
    difference += std::pow(double{a.values()[i]} - right, 2);
    norm += right * right;
  }
  return std::sqrt(difference / norm);
}

// What a quantizer may lose, relative L2 of a whole matrix, from the rounding of its codes on
// bell-shaped weights. Scales that are powers of two cut off the largest of each group.
struct Loss {
  const char* quantizer;
  const char* format;
  double most;
};
constexpr Loss kLosses[] = {
    {"fp8-block", "fp8-block", 0.03},
    {"fp8-channel", "fp8-channel", 0.03},
    {"fp8-tensor", "fp8-tensor", 0.03},
    {"mxfp8", "mxfp8", 0.036},
    {"int8", "int8", 0.01},
    {"nvfp4", "nvfp4", 0.11},
    {"nvfp4-packed", "nvfp4", 0.11},
    {"mxfp4-packed", "mxfp4", 0.14},
    {"int4-packed", "int-packed", 0.09},
    {"int4-packed-zeros", "int-packed", 0.09},
    {"int8-packed", "int-packed", 0.006},
    {"gptq", "gptq", 0.09},
    {"gptq-ordered", "gptq", 0.09},
    {"gptq8", "gptq", 0.006},
    {"awq", "awq", 0.09},
};

void ExpectSameForward(const Checkpoint& twin, const Checkpoint& plain, const std::string& label) {
  const ForwardOutputs ours = Forward(twin), expected = Forward(plain);
  double largest = 0;
  for (std::size_t n = 0; n < expected.hidden_states.size(); ++n) {
    largest = std::max(largest, RelativeL2(ours.hidden_states[n], expected.hidden_states[n]));
  }
  largest = std::max(largest, RelativeL2(ours.logits, expected.logits));
  std::printf("%-22s largest relative L2 against decoded weights: %g\n", label.c_str(), largest);
  EXPECT_LE(largest, 1e-6);
  for (const auto& [layer, router] : expected.routers) {
    EXPECT_EQ(ours.routers.at(layer).routing.ids, router.routing.ids) << layer;
  }
}

class QuantizedTwin : public ::testing::TestWithParam<Loss> {};

TEST_P(QuantizedTwin, RunsAsTheModelWithItsDecodedWeights) {
  const Quantizer& quantizer = GetQuantizer(GetParam().quantizer);
  const Scratch scratch(fmt::format("twin-{}", quantizer.name));
  const Checkpoint source = Checkpoint::Open(kTextOnly);
  WriteQuantizedTwin(source, {.quantizer = GetParam().quantizer}, scratch.path());
  const Checkpoint twin = Checkpoint::Open(scratch.path());
  const std::unique_ptr<Model> model = DescribeModel(twin);
  EXPECT_EQ(model->info().expert_format, GetParam().format);
  EXPECT_EQ(model->info().expert_layout, "per-expert");
  EXPECT_THAT(model->info().quantization,
              HasSubstr(GetString(quantizer.config(), "quant_method", "")));

  ChangedCheckpoint plain(scratch.path());
  DecodeExperts(twin, quantizer, plain);
  const Checkpoint decoded = plain.Write();
  EXPECT_EQ(DescribeModel(decoded)->info().quantization, "none");
  EXPECT_EQ(DescribeModel(decoded)->info().expert_format, "f32");
  ExpectSameForward(twin, decoded, GetParam().quantizer);
}

TEST_P(QuantizedTwin, IsAsNearToItsSourceAsTheFormatAllows) {
  const Quantizer& quantizer = GetQuantizer(GetParam().quantizer);
  const Scratch scratch(fmt::format("near-{}", quantizer.name));
  const Checkpoint source = Checkpoint::Open(kTextOnly);
  WriteQuantizedTwin(source, {.quantizer = GetParam().quantizer}, scratch.path());
  const Checkpoint twin = Checkpoint::Open(scratch.path());
  double largest = 0;
  const std::set<std::string> modules = ExpertModules(twin, quantizer);
  EXPECT_EQ(modules.size(), 4u * 16 * 3);
  for (const std::string& module : modules) {
    std::vector<std::string> names;
    const DecodedWeight weight = DecodePlainly(twin, quantizer.name, module, names);
    const std::vector<float> original = ReadFloats(source.GetTensor(module + ".weight"));
    ASSERT_EQ(weight.shape, source.GetTensor(module + ".weight").shape);
    Matrix a(weight.shape[0], weight.shape[1]), b = a;
    std::copy(weight.values.begin(), weight.values.end(), a.values().begin());
    std::copy(original.begin(), original.end(), b.values().begin());
    largest = std::max(largest, RelativeL2(a, b));
  }
  std::printf("%-22s largest relative L2 of a weight: %.4f\n", GetParam().quantizer, largest);
  EXPECT_LT(largest, GetParam().most);
  EXPECT_GT(largest, GetParam().most / 4);
}

// Equal codes and scales are found as copies; of the twin only router rows change.
void ExpectPairTied(const fs::path& folder, const std::string& quantizer, const Scratch& scratch) {
  const Checkpoint source = Checkpoint::Open(folder);
  const CopiedExperts pair = ChoosePair(source, RoutingGroup::kSame);
  PlantPair(source, pair, scratch.path() / "planted");
  WriteQuantizedTwin(Checkpoint::Open(scratch.path() / "planted"), {.quantizer = quantizer},
                     scratch.path() / "twin");
  ExpectTied(ScanPair(scratch.path() / "twin", pair, scratch.path() / "scan"),
             scratch.path() / "out");
}

TEST_P(QuantizedTwin, TiesAPlantedPairAndKeepsEveryStoredCode) {
  const Scratch scratch(fmt::format("tied-{}", GetParam().quantizer));
  ExpectPairTied(kTextOnly, GetParam().quantizer, scratch);
}

TEST(QuantizedTwin, TiesAPlantedPairOfFusedBlocks) {
  const Scratch scratch("tied-blocks");
  ExpectPairTied(kSource / "goldens/families/gpt_oss", "mxfp4-fused", scratch);
}

TEST_P(QuantizedTwin, WithAQuantizedGateIsRefusedWithTheReason) {
  const Quantizer& quantizer = GetQuantizer(GetParam().quantizer);
  ChangedCheckpoint changed(kTextOnly);
  const std::string gate = "model.layers.1.mlp.gate";
  const std::vector<float> values =
      LoadFloats(changed.Find(gate + ".weight").bytes, changed.Find(gate + ".weight").dtype);
  Matrix weights(16, 64);
  std::copy(values.begin(), values.end(), weights.values().begin());
  changed.Remove(gate + ".weight");
  for (QuantizedPart& part : quantizer.quantize(weights)) {
    changed.tensors.push_back({gate + part.suffix, part.dtype, part.shape, part.bytes});
  }
  changed.config["quantization_config"] = quantizer.config();
  const Checkpoint checkpoint = changed.Write();
  try {
    DescribeModel(checkpoint);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("'" + gate + "'"), HasSubstr(GetParam().format),
                                    HasSubstr("cannot be rewritten alone")));
  }
}

INSTANTIATE_TEST_SUITE_P(Published, QuantizedTwin, ::testing::ValuesIn(kLosses),
                         [](const auto& instance) {
                           std::string name = instance.param.quantizer;
                           std::erase(name, '-');
                           return name;
                         });

// The other source: a plain fused twin of the reference model, experts [out, in], and an MTP block.
TEST(QuantizedTwin, OfFusedExpertsOneByOne) {
  const Scratch fused("twin-source"), scratch("twin-of-fused");
  WriteFusedTwin(Checkpoint::Open(kSource / "models/reference-fp8"), {.dtype = Dtype::kBF16},
                 fused.path());
  for (const char* name : {"nvfp4", "int4-packed-zeros"}) {
    fs::remove_all(scratch.path());
    WriteQuantizedTwin(Checkpoint::Open(fused.path()), {.quantizer = name}, scratch.path());
    const Checkpoint twin = Checkpoint::Open(scratch.path());
    EXPECT_EQ(DescribeModel(twin)->info().expert_layout, "per-expert");
    const Quantizer& quantizer = GetQuantizer(name);
    EXPECT_EQ(ExpertModules(twin, quantizer).size(), 5u * 32 * 3);
    ChangedCheckpoint plain(scratch.path());
    DecodeExperts(twin, quantizer, plain);
    ExpectSameForward(twin, plain.Write(), fmt::format("reference, {}", name));
  }
}

// A config may lie beside config.json; without one, and in the wrong one, the weights are refused.
TEST(QuantizedTwin, WithItsConfigInAnotherFileOrGone) {
  const Scratch scratch("twin-file");
  WriteQuantizedTwin(Checkpoint::Open(kTextOnly), {.quantizer = "gptq"}, scratch.path());
  const std::vector<Matrix> expected = Forward(Checkpoint::Open(scratch.path())).hidden_states;
  const Json config = ParseJson(ReadTextFile(scratch.path() / "config.json"), "config.json");
  Json plain = config, quantization = config["quantization_config"];
  plain.erase("quantization_config");
  PublishFile(scratch.path() / "config.json", WriteJson(plain));
  const auto refusal = [&] {
    try {
      const Checkpoint checkpoint = Checkpoint::Open(scratch.path());
      DescribeModel(checkpoint);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(refusal(), HasSubstr("no quantization_config"));

  quantization.erase("quant_method");
  PublishFile(scratch.path() / "quantize_config.json", WriteJson(quantization));
  const std::vector<Matrix> found = Forward(Checkpoint::Open(scratch.path())).hidden_states;
  ASSERT_EQ(found.size(), expected.size());
  EXPECT_EQ(RelativeL2(found.back(), expected.back()), 0);

  quantization["bits"] = 8;
  PublishFile(scratch.path() / "quantize_config.json", WriteJson(quantization));
  EXPECT_THAT(refusal(), AllOf(HasSubstr(".qweight'"), HasSubstr("8 bits a weight")));
  plain["quantization_config"] = GetQuantizer("nvfp4").config();
  PublishFile(scratch.path() / "config.json", WriteJson(plain));
  EXPECT_THAT(refusal(), AllOf(HasSubstr("stored as gptq"), HasSubstr("says nvfp4")));
}

TEST(QuantizedTwin, OfAQuantizedSourceIsRefused) {
  const Scratch scratch("twin-twice");
  EXPECT_THROW(WriteQuantizedTwin(Checkpoint::Open(kSource / "models/reference-fp8"),
                                  {.quantizer = "nvfp4"}, scratch.path()),
               Error);
  EXPECT_THROW(WriteQuantizedTwin(Checkpoint::Open(kTextOnly), {.quantizer = "q4"}, scratch.path()),
               Error);
}

}  // namespace
}  // namespace cacheready
