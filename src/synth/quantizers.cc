// SPDX-License-Identifier: Apache-2.0
#include "synth/quantizers.h"

#include <fmt/ranges.h>

#include "base/error.h"

namespace cacheready {
namespace {

Json Fp8Config() {
  return {{"quant_method", "fp8"},
          {"activation_scheme", "dynamic"},
          {"fmt", "e4m3"},
          {"weight_block_size", {16, 32}},
          {"modules_to_not_convert", {"lm_head", "gate", "router"}}};
}

Json ModeloptConfig(const char* algorithm) {
  return {{"quant_method", "modelopt"},
          {"quant_algo", algorithm},
          {"ignore", {"lm_head", "*.gate", "*.router", "*attn*", "*shared_expert*"}}};
}
Json Fp8TensorConfig() { return ModeloptConfig("FP8"); }
Json Mxfp8Config() { return ModeloptConfig("MXFP8"); }
Json Nvfp4Config() { return ModeloptConfig("NVFP4"); }

Json CompressedConfig(const char* format, Json weights) {
  return {{"quant_method", "compressed-tensors"},
          {"format", format},
          {"config_groups",
           {{"group_0",
             {{"targets", {"Linear"}}, {"weights", std::move(weights)}, {"format", format}}}}},
          {"ignore", {"lm_head", R"(re:.*\.(gate|router)$)", "re:.*(attn|shared_expert).*"}}};
}
Json Numbers(int bits, const char* type, const char* strategy) {
  return {{"num_bits", bits}, {"type", type}, {"strategy", strategy}};
}
Json Groups(int bits, const char* type, const char* strategy, int size, bool symmetric = true) {
  Json numbers = Numbers(bits, type, strategy);
  numbers["group_size"] = size;
  numbers["symmetric"] = symmetric;
  return numbers;
}
Json Fp8ChannelConfig() {
  return CompressedConfig("float-quantized", Numbers(8, "float", "channel"));
}
Json Int8Config() { return CompressedConfig("int-quantized", Numbers(8, "int", "channel")); }
Json Nvfp4PackedConfig() {
  return CompressedConfig("nvfp4-pack-quantized", Groups(4, "float", "tensor_group", 16));
}
Json Mxfp4PackedConfig() {
  return CompressedConfig("mxfp4-pack-quantized", Groups(4, "float", "group", 32));
}
Json Packed4Config() { return CompressedConfig("pack-quantized", Groups(4, "int", "group", 16)); }
Json Packed4ZerosConfig() {
  return CompressedConfig("pack-quantized", Groups(4, "int", "group", 16, false));
}
Json Packed8Config() { return CompressedConfig("pack-quantized", Groups(8, "int", "group", 16)); }

Json Mxfp4Config() {
  return {
      {"quant_method", "mxfp4"},
      {"modules_to_not_convert",
       {"model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"}}};
}

Json GptqConfigOf(int bits, bool symmetric, const char* layout, bool ordered) {
  return {{"quant_method", "gptq"},
          {"bits", bits},
          {"group_size", 16},
          {"sym", symmetric},
          {"desc_act", ordered},
          {"checkpoint_format", layout},
          {"dynamic", {{R"(-:.*(gate|attn|shared_expert)($|\..*))", Json::object()}}}};
}
Json GptqConfig() { return GptqConfigOf(4, true, "gptq", false); }
Json GptqOrderedConfig() { return GptqConfigOf(4, false, "gptq_v2", true); }
Json Gptq8Config() { return GptqConfigOf(8, false, "gptq", false); }
Json AwqConfig() {
  return {{"quant_method", "awq"}, {"bits", 4},
          {"group_size", 16},      {"zero_point", true},
          {"version", "gemm"},     {"modules_to_not_convert", {".gate.", "self_attn"}}};
}

constexpr Quantizer kQuantizers[] = {
    {"fp8-block", QuantizeFp8Block, Fp8Config},
    {"fp8-channel", QuantizeFp8Channel, Fp8ChannelConfig},
    {"fp8-tensor", QuantizeFp8Tensor, Fp8TensorConfig},
    {"mxfp8", QuantizeMxfp8, Mxfp8Config},
    {"int8", QuantizeInt8, Int8Config},
    {"nvfp4", QuantizeNvfp4, Nvfp4Config},
    {"nvfp4-packed", QuantizeNvfp4Packed, Nvfp4PackedConfig},
    {"mxfp4-packed", QuantizeMxfp4Packed, Mxfp4PackedConfig},
    {"mxfp4-fused", QuantizeMxfp4Blocks, Mxfp4Config, true},
    {"int4-packed", QuantizePacked4, Packed4Config},
    {"int4-packed-zeros", QuantizePacked4Zeros, Packed4ZerosConfig},
    {"int8-packed", QuantizePacked8, Packed8Config},
    {"gptq", QuantizeGptq, GptqConfig},
    {"gptq-ordered", QuantizeGptqOrdered, GptqOrderedConfig},
    {"gptq8", QuantizeGptq8, Gptq8Config},
    {"awq", QuantizeAwq, AwqConfig},
};

}  // namespace

std::span<const Quantizer> Quantizers() { return kQuantizers; }

const Quantizer& GetQuantizer(std::string_view name) {
  std::vector<std::string_view> names;
  for (const Quantizer& quantizer : kQuantizers) {
    if (quantizer.name == name) return quantizer;
    names.push_back(quantizer.name);
  }
  Fail("there is no quantizer '{}': {}", name, fmt::join(names, ", "));
}

}  // namespace cacheready
