// SPDX-License-Identifier: Apache-2.0
#include "formats/quantization_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace cacheready {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

QuantizationConfig Parse(const std::string& text, std::string_view method = "") {
  return ParseQuantizationConfig(ParseJson(text, "a test"), method, "config.json");
}

std::string Refusal(const std::string& text, std::string_view method = "") {
  try {
    Parse(text, method);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

// format and text of a module's scheme; "-" if it has none.
std::string Scheme(const QuantizationConfig& config, std::string_view module) {
  const QuantizationScheme* scheme = config.FindScheme(module);
  return scheme == nullptr ? "-" : scheme->format + " " + SchemeText(*scheme);
}

const std::string kExpert = "model.layers.3.mlp.experts.7.up_proj";

TEST(QuantizationConfig, ReadsFp8Blocks) {
  const QuantizationConfig config = Parse(R"({"activation_scheme": "dynamic", "fmt": "e4m3",
      "quant_method": "fp8", "weight_block_size": [128, 64], "scale_fmt": "ue8m0",
      "modules_to_not_convert": ["lm_head", "model.layers.3.mlp.gate", "gate",
                                 "model.layers.*.self_attn"]})");
  EXPECT_EQ(Scheme(config, kExpert), "fp8-block w8a8 dynamic per token 64 columns");
  EXPECT_EQ(config.FindScheme(kExpert)->weights.block.rows, 128);
  EXPECT_EQ(QuantizationText(config), "fp8: w8a8 dynamic per token 64 columns");
  for (const char* module : {"lm_head", "model.layers.3.mlp.gate", "model.layers.9.mlp.gate",
                             "model.layers.0.self_attn.q_proj"}) {
    EXPECT_EQ(Scheme(config, module), "-") << module;
  }
  EXPECT_NE(Scheme(config, "model.layers.3.mlp.gate_proj"), "-");
}

TEST(QuantizationConfig, ReadsFp8PerTensor) {
  EXPECT_EQ(Scheme(Parse(R"({"quant_method": "fp8", "activation_scheme": "static"})"), kExpert),
            "fp8 w8a8 static per tensor");
  EXPECT_EQ(Scheme(Parse(R"({"quant_method": "fp8", "weight_block_size": null})"), kExpert),
            "fp8 w8a8 dynamic per token");
}

TEST(QuantizationConfig, ReadsMxfp4) {
  const QuantizationConfig config = Parse(R"({"quant_method": "mxfp4", "modules_to_not_convert":
      ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"]})");
  EXPECT_EQ(Scheme(config, "model.layers.0.mlp.experts.gate_up_proj"), "mxfp4 w4a16");
  EXPECT_EQ(Scheme(config, "model.layers.0.mlp.router"), "-");
}

TEST(QuantizationConfig, ReadsModelopt) {
  const QuantizationConfig file = Parse(R"({"producer": {"name": "modelopt", "version": "0.29"},
      "quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "group_size": 16,
      "exclude_modules": ["lm_head", "model.layers.*.mlp.shared_expert*", "mtp*"]}})",
                                        "modelopt");
  EXPECT_EQ(Scheme(file, kExpert), "nvfp4 w4a4 dynamic per token 16 columns, static per tensor");
  EXPECT_EQ(Scheme(file, "model.language_model.layers.4.mlp.shared_expert.up_proj"), "-");
  EXPECT_EQ(Scheme(file, "mtp.layers.0.mlp.experts.0.up_proj"), "-");
  EXPECT_EQ(QuantizationText(file),
            "modelopt: w4a4 dynamic per token 16 columns, static per tensor; KV cache FP8");

  const QuantizationConfig inside = Parse(R"({"quant_method": "modelopt", "quant_algo": "FP8",
      "config_groups": {"group_0": {"targets": ["Linear"]}}, "ignore": ["lm_head"],
      "kv_cache_scheme": {"dynamic": false, "num_bits": 8, "type": "float"}})");
  EXPECT_EQ(Scheme(inside, kExpert), "fp8-tensor w8a8 static per tensor");
  EXPECT_EQ(inside.kv_cache, "float8");
}

TEST(QuantizationConfig, ReadsEveryModeloptAlgorithm) {
  const std::pair<const char*, const char*> expected[] = {
      {"FP8", "fp8-tensor w8a8 static per tensor"},
      {"FP8_PER_CHANNEL_PER_TOKEN", "fp8-channel w8a8 dynamic per token"},
      {"FP8_PB_WO", "fp8-block w8a16"},
      {"MXFP8", "mxfp8 w8a8 dynamic per token 32 columns"},
      {"W4A16_NVFP4", "nvfp4 w4a16"},
      {"W4A8_NVFP4_FP8", "nvfp4 w4a8 static per tensor"},
      {"MXFP4", "mxfp4 w4a16"},
      {"W4A8_MXFP4_FP8", "mxfp4 w4a8 static per tensor"},
      {"W8A16", "int8 w8a16"}};
  for (const auto& [algorithm, scheme] : expected) {
    EXPECT_EQ(
        Scheme(Parse(fmt::format(R"({{"quant_algo": "{}"}})", algorithm), "modelopt"), kExpert),
        scheme);
  }
  for (const char* algorithm : {"W4A16_AWQ", "NVFP4_AWQ", "NVFP4_SVD", "W8A8_SQ_PER_CHANNEL"}) {
    EXPECT_THAT(Refusal(fmt::format(R"({{"quant_algo": "{}"}})", algorithm), "modelopt"),
                AllOf(HasSubstr(algorithm), HasSubstr("NVFP4, W4A16_NVFP4")));
  }
}

TEST(QuantizationConfig, ReadsModeloptMixedPrecision) {
  const QuantizationConfig config = Parse(R"({"quant_method": "modelopt",
      "quant_algo": "MIXED_PRECISION", "quantized_layers": {
        "model.layers.3.mlp.experts": {"quant_algo": "W4A16_NVFP4", "group_size": 16},
        "model.layers.3.self_attn.q_proj": {"quant_algo": "FP8"},
        "model.layers.4.mlp.experts.*.up_proj": {"quant_algo": "FP8"}},
      "exclude_modules": ["lm_head"]})");
  EXPECT_EQ(Scheme(config, kExpert), "nvfp4 w4a16");
  EXPECT_EQ(Scheme(config, "model.language_model.layers.3.self_attn.q_proj"),
            "fp8-tensor w8a8 static per tensor");
  EXPECT_EQ(Scheme(config, "model.layers.4.mlp.experts.9.up_proj"),
            "fp8-tensor w8a8 static per tensor");
  EXPECT_EQ(Scheme(config, "model.layers.4.mlp.experts.9.down_proj"), "-");
  EXPECT_EQ(QuantizationText(config), "modelopt: w8a8 static per tensor; w4a16");
}

std::string CompressedTensors(const std::string& format, const std::string& weights,
                              const std::string& activations = "null",
                              const std::string& more = "") {
  return fmt::format(R"({{"quant_method": "compressed-tensors", "format": "{}",
      "config_groups": {{"group_0": {{"targets": ["Linear"], "weights": {},
      "input_activations": {}, "output_activations": null}}}}{}}})",
                     format, weights, activations, more);
}

TEST(QuantizationConfig, ReadsEveryCompressedTensorsFormat) {
  const std::string token = R"({"num_bits": 8, "type": "float", "strategy": "token",
      "dynamic": true})";
  const auto scheme = [&](const std::string& format, const std::string& weights,
                          const std::string& activations = "null") {
    return Scheme(Parse(CompressedTensors(format, weights, activations)), kExpert);
  };
  EXPECT_EQ(scheme("float-quantized", R"({"num_bits": 8, "type": "float", "strategy": "channel"})",
                   token),
            "fp8-channel w8a8 dynamic per token");
  EXPECT_EQ(scheme("float-quantized", R"({"num_bits": 8, "type": "float", "strategy": "tensor"})",
                   R"({"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": false})"),
            "fp8-tensor w8a8 static per tensor");
  EXPECT_EQ(scheme("float-quantized", R"({"num_bits": 8, "type": "float", "strategy": "block",
                   "block_structure": [128, 128]})",
                   R"({"num_bits": 8, "type": "float",
                   "strategy": "group", "group_size": 128, "dynamic": true})"),
            "fp8-block w8a8 dynamic per token 128 columns");
  EXPECT_EQ(scheme("naive-quantized", R"({"num_bits": 8, "type": "float"})"), "fp8-tensor w8a16");
  EXPECT_EQ(scheme("int-quantized", R"({"num_bits": 8, "type": "int", "strategy": "channel"})",
                   R"({"num_bits": 8, "type": "int", "strategy": "token", "dynamic": true})"),
            "int8 w8a8 int dynamic per token");
  EXPECT_EQ(scheme("pack-quantized", R"({"num_bits": 4, "type": "int", "strategy": "group",
                   "group_size": 32, "symmetric": false})"),
            "int-packed w4a16");
  EXPECT_EQ(scheme("nvfp4-pack-quantized", R"({"num_bits": 4, "type": "float",
                   "strategy": "tensor_group", "group_size": 16})",
                   R"({"num_bits": 4,
                   "type": "float", "strategy": "tensor_group", "group_size": 16,
                   "dynamic": "local"})"),
            "nvfp4 w4a4 dynamic per token 16 columns, static per tensor");
  EXPECT_EQ(scheme("mxfp4-pack-quantized", R"({"num_bits": 4, "type": "float",
                   "strategy": "group", "group_size": 32})"),
            "mxfp4 w4a16");
  EXPECT_EQ(scheme("mxfp8-quantized", R"({"num_bits": 8, "type": "float", "strategy": "group",
                   "group_size": 32})"),
            "mxfp8 w8a16");
}

TEST(QuantizationConfig, ReadsCompressedTensorsOfMixedPrecision) {
  const QuantizationConfig config = Parse(R"({"quant_method": "compressed-tensors",
      "format": "mixed-precision", "config_groups": {
        "group_0": {"format": "float-quantized", "targets": ["Linear"],
                    "weights": {"num_bits": 8, "type": "float", "strategy": "channel"}},
        "group_1": {"format": "pack-quantized", "targets": ["re:.*\\.experts\\..*"],
                    "weights": {"num_bits": 4, "type": "int", "group_size": 32}},
        "group_2": {"targets": ["re:.*self_attn$"], "weights": null}},
      "ignore": ["lm_head", "re:.*mlp\\.gate$", "Embedding"]})");
  EXPECT_EQ(Scheme(config, kExpert), "int-packed w4a16");
  EXPECT_EQ(Scheme(config, "model.layers.3.self_attn.q_proj"), "fp8-channel w8a16");
  EXPECT_EQ(Scheme(config, "model.layers.3.mlp.gate"), "-");
  EXPECT_EQ(Scheme(config, "model.layers.3.mlp.gate_proj"), "fp8-channel w8a16");
  EXPECT_EQ(QuantizationText(config), "compressed-tensors: w8a16; w4a16");
}

TEST(QuantizationConfig, ReadsGptqOfBothLayouts) {
  const QuantizationConfig first = Parse(R"({"quant_method": "gptq", "bits": 4, "group_size": 128,
      "desc_act": true, "sym": true, "dynamic": {"-:.*mlp\\.gate$": {}, "lm_head": {"bits": 8},
      "+:.*layers\\.3\\..*": {"bits": 8, "group_size": 32, "sym": false}}})");
  EXPECT_EQ(Scheme(first, "model.layers.2.mlp.experts.0.up_proj"), "gptq w4a16");
  EXPECT_TRUE(first.FindScheme("model.layers.2.mlp.up_proj")->zeros_minus_one);
  EXPECT_TRUE(first.FindScheme("model.layers.2.mlp.up_proj")->weights.symmetric);
  EXPECT_EQ(first.FindScheme("model.layers.2.mlp.up_proj")->weights.block.cols, 128);
  EXPECT_EQ(Scheme(first, kExpert), "gptq w8a16");
  EXPECT_EQ(first.FindScheme(kExpert)->weights.block.cols, 32);
  EXPECT_FALSE(first.FindScheme(kExpert)->weights.symmetric);
  EXPECT_EQ(Scheme(first, "model.layers.2.mlp.gate"), "-");
  EXPECT_EQ(Scheme(first, "lm_head"), "gptq w8a16");

  const QuantizationConfig second =
      Parse(R"({"bits": 8, "group_size": -1, "checkpoint_format": "gptq_v2"})", "gptq");
  EXPECT_FALSE(second.FindScheme(kExpert)->zeros_minus_one);
  EXPECT_FALSE(second.FindScheme(kExpert)->weights.symmetric);
  EXPECT_EQ(second.FindScheme(kExpert)->weights.block.cols, 0);
}

TEST(QuantizationConfig, ReadsAwq) {
  const QuantizationConfig config = Parse(R"({"quant_method": "awq", "bits": 4, "group_size": 128,
      "zero_point": true, "version": "gemm", "modules_to_not_convert": ["gate"]})");
  EXPECT_EQ(Scheme(config, kExpert), "awq w4a16");
  EXPECT_EQ(Scheme(config, "model.layers.0.block_sparse_moe.gate"), "-");
  const QuantizationConfig file =
      Parse(R"({"zero_point": true, "q_group_size": 64, "w_bit": 4, "version": "GEMM"})", "awq");
  EXPECT_EQ(file.FindScheme(kExpert)->weights.block.cols, 64);
}

TEST(QuantizationConfig, ReadsAutoRound) {
  const QuantizationConfig config = Parse(R"({"quant_method": "auto-round", "bits": 4,
      "group_size": 128, "sym": true, "data_type": "int",
      "packing_format": "auto_round:auto_gptq", "extra_config": {
        "model.layers.3.mlp.gate": {"bits": 16, "data_type": "float"},
        ".*shared_expert_gate.*": {"bits": 16},
        "model.layers.3.mlp.experts.7.up_proj": {"bits": 8}}})");
  EXPECT_EQ(Scheme(config, "model.layers.3.mlp.gate"), "-");
  EXPECT_EQ(Scheme(config, "model.layers.1.mlp.shared_expert_gate"), "-");
  EXPECT_EQ(Scheme(config, kExpert), "gptq w8a16");
  EXPECT_EQ(Scheme(config, "model.layers.3.mlp.experts.8.up_proj"), "gptq w4a16");
  EXPECT_TRUE(config.FindScheme(kExpert)->zeros_minus_one);
  EXPECT_EQ(Scheme(Parse(R"({"quant_method": "auto-round",
      "packing_format": "auto_round:auto_awq"})"),
                   kExpert),
            "awq w4a16");
}

TEST(QuantizationConfig, RefusesWhatIsNotImplementedByName) {
  const std::pair<std::string, std::vector<std::string>> refusals[] = {
      {R"({"quant_method": "bitsandbytes"})",
       {"quant_method", "bitsandbytes", "fp8, mxfp4, modelopt", "auto-round"}},
      {R"({})", {"quant_method", "compressed-tensors"}},
      {R"([])", {"expected an object"}},
      {R"({"quant_method": "fp8", "fmt": "e5m2"})", {"fmt", "e5m2", "e4m3"}},
      {R"({"quant_method": "fp8", "activation_scheme": "odd"})", {"activation_scheme", "odd"}},
      {R"({"quant_method": "fp8", "weight_block_size": [128]})", {"weight_block_size", "pair"}},
      {R"({"quant_method": "fp8", "weight_block_size": [0, 1]})", {"weight_block_size", "pair"}},
      {R"({"quant_method": "fp8", "modules_to_not_convert": "gate"})",
       {"modules_to_not_convert", "array"}},
      {R"({"quant_method": "fp8", "modules_to_not_convert": [1]})",
       {"modules_to_not_convert", "1"}},
      {R"({"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 32})",
       {"group_size", "32", "16"}},
      {R"({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION",
           "quantized_layers": {"a": {"quant_algo": "X"}}})",
       {"quantized_layers 'a'", "'X'"}},
      {R"({"quant_method": "modelopt"})", {"quant_algo"}},
      {R"({"quant_method": "gptq", "bits": 3})", {"bits", "3", "4, 8"}},
      {R"({"quant_method": "gptq", "checkpoint_format": "marlin"})",
       {"checkpoint_format", "marlin", "gptq_v2"}},
      {R"({"quant_method": "gptq", "pack_dtype": "int8"})", {"pack_dtype", "int8"}},
      {R"({"quant_method": "gptq", "dynamic": {"+:(": {}}})", {"dynamic '+:('"}},
      {R"({"quant_method": "gptq", "group_size": -7})", {"group_size", "-7"}},
      {R"({"quant_method": "awq", "version": "gemv"})", {"version", "gemv", "gemm"}},
      {R"({"quant_method": "awq", "zero_point": false})", {"zero_point"}},
      {R"({"quant_method": "awq", "bits": 8})", {"bits", "8"}},
      {R"({"quant_method": "auto-round", "packing_format": "auto_round"})",
       {"packing_format", "auto_gptq"}},
      {R"({"quant_method": "auto-round", "data_type": "mx_fp"})", {"data_type", "mx_fp"}},
      {CompressedTensors("marlin-24", R"({"num_bits": 4})"), {"format", "marlin-24"}},
      {CompressedTensors("pack-quantized", R"({"num_bits": 3})"), {"num_bits", "3"}},
      {CompressedTensors("int-quantized", R"({"num_bits": 8, "strategy": "attn_head"})"),
       {"strategy", "attn_head"}},
      {CompressedTensors("int-quantized", R"({"num_bits": 8, "strategy": "group"})"),
       {"group_size"}},
      {CompressedTensors("int-quantized", R"({"num_bits": 8, "strategy": "block"})"),
       {"block_structure"}},
      {CompressedTensors("int-quantized", R"({"num_bits": 8, "dynamic": "some"})"),
       {"dynamic", "some"}},
      {CompressedTensors("int-quantized", R"({"num_bits": 8})", "null",
                         R"(, "sparsity_config": {"format": "sparse-24-bitmask"})"),
       {"sparsity_config", "sparse-24-bitmask"}},
      {CompressedTensors("int-quantized", R"({"num_bits": 8})", "null",
                         R"(, "transform_config": {"config_groups": {"u": {}}})"),
       {"transform_config"}},
  };
  for (const auto& [text, parts] : refusals) {
    const std::string refusal = Refusal(text);
    EXPECT_THAT(refusal, HasSubstr("config.json")) << text;
    for (const std::string& part : parts) EXPECT_THAT(refusal, HasSubstr(part)) << text;
  }
}

TEST(QuantizationConfig, AgreesWithTensorsOrSaysWhy) {
  const QuantizationConfig config = Parse(R"({"quant_method": "modelopt", "quant_algo": "NVFP4",
      "exclude_modules": ["*.mlp.gate", "lm_head"]})");
  const auto disagreement = [&](std::string_view module, std::string_view format) {
    try {
      RequireAgreement(config, module, format, "a.safetensors");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("agrees");
  };
  EXPECT_EQ(disagreement(kExpert, "nvfp4"), "agrees");
  EXPECT_THAT(disagreement(kExpert, "fp8-block"),
              AllOf(HasSubstr(kExpert), HasSubstr("fp8-block"), HasSubstr("nvfp4"),
                    HasSubstr("config.json")));
  EXPECT_THAT(disagreement("model.layers.0.mlp.gate", "nvfp4"),
              AllOf(HasSubstr("'*.mlp.gate'"), HasSubstr("not quantized")));
  EXPECT_NO_THROW(RequireAgreement({}, kExpert, "nvfp4", "a.safetensors"));
}

TEST(QuantizationConfig, OfACheckpointThatIsNotQuantizedIsEmpty) {
  EXPECT_EQ(QuantizationText({}), "none");
  EXPECT_EQ(QuantizationConfig().FindScheme(kExpert), nullptr);
}

}  // namespace
}  // namespace cacheready
