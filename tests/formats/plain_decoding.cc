// SPDX-License-Identifier: Apache-2.0
#include "formats/plain_decoding.h"

#include <cmath>
#include <limits>

#include "base/error.h"

namespace cacheready {
namespace {

float E4m3(int code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  if (exponent == 15 && mantissa == 7) return std::numeric_limits<float>::quiet_NaN();
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return static_cast<float>(code & 128 ? -magnitude : magnitude);
}

float E2m1(int code) {
  constexpr float kMagnitudes[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  return code & 8 ? -kMagnitudes[code & 7] : kMagnitudes[code & 7];
}

float PowerOfTwo(int code) { return static_cast<float>(std::ldexp(1.0, code - 127)); }

// The tensors of one module.
class Module {
 public:
  Module(const Checkpoint& checkpoint, std::string name, std::vector<std::string>& names)
      : checkpoint_(checkpoint), name_(std::move(name)), names_(names) {}

  const TensorView& Get(const std::string& suffix) {
    const TensorView& tensor = checkpoint_.GetTensor(name_ + suffix);
    names_.push_back(tensor.name);
    return tensor;
  }
  std::vector<float> Floats(const std::string& suffix) { return ReadFloats(Get(suffix)); }
  std::vector<int> Bytes(const std::string& suffix) {
    std::vector<int> bytes;
    for (const std::byte byte : Get(suffix).bytes) bytes.push_back(std::to_integer<int>(byte));
    return bytes;
  }
  std::vector<std::uint32_t> Words(const std::string& suffix) {
    std::vector<std::uint32_t> words;
    for (const std::int64_t word : ReadInts(Get(suffix))) {
      words.push_back(static_cast<std::uint32_t>(word));
    }
    return words;
  }

 private:
  const Checkpoint& checkpoint_;
  std::string name_;
  std::vector<std::string>& names_;
};

// [out, in] by a function of row and column.
template <typename Value>
DecodedWeight Fill(std::int64_t rows, std::int64_t cols, Value value) {
  DecodedWeight weight{{rows, cols}, {}};
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      weight.values.push_back(value(static_cast<std::size_t>(r), static_cast<std::size_t>(c)));
    }
  }
  return weight;
}

DecodedWeight DecodeEightBits(Module module, std::string_view quantizer) {
  const std::vector<std::int64_t> shape = module.Get(".weight").shape;
  const auto cols = static_cast<std::size_t>(shape[1]);
  const std::vector<int> codes = module.Bytes(".weight");
  const bool block = quantizer == "fp8-block", powers = quantizer == "mxfp8";
  const std::string scale_name = block ? ".weight_scale_inv" : ".weight_scale";
  const std::vector<int> bytes = powers ? module.Bytes(scale_name) : std::vector<int>{};
  const std::vector<float> floats = powers ? std::vector<float>{} : module.Floats(scale_name);
  return Fill(shape[0], shape[1], [&](std::size_t r, std::size_t c) {
    const int code = codes[r * cols + c];
    if (powers) return E4m3(code) * PowerOfTwo(bytes[r * ((cols + 31) / 32) + c / 32]);
    if (block) return E4m3(code) * floats[r / 16 * ((cols + 31) / 32) + c / 32];
    if (quantizer == "int8") return static_cast<float>(code < 128 ? code : code - 256) * floats[r];
    return E4m3(code) * floats[quantizer == "fp8-tensor" ? 0 : r];
  });
}

DecodedWeight DecodeFourBits(Module module, std::string_view quantizer) {
  const std::string codes_name = quantizer == "nvfp4" ? ".weight" : ".weight_packed";
  const std::vector<std::int64_t> shape = module.Get(codes_name).shape;
  const auto half = static_cast<std::size_t>(shape[1]);
  const std::vector<int> pairs = module.Bytes(codes_name), scales = module.Bytes(".weight_scale");
  float global = 1;
  if (quantizer == "nvfp4") global = module.Floats(".weight_scale_2")[0];
  if (quantizer == "nvfp4-packed") global = module.Floats(".weight_global_scale")[0];
  return Fill(shape[0], 2 * shape[1], [&](std::size_t r, std::size_t c) {
    const int pair = pairs[r * half + c / 2];
    const float code = E2m1(c % 2 == 0 ? pair & 15 : pair >> 4);
    if (quantizer == "mxfp4-packed") return code * PowerOfTwo(scales[r * (half / 16) + c / 32]);
    const float scale = E4m3(scales[r * (half / 8) + c / 16]);
    return code * (quantizer == "nvfp4" ? scale * global : scale / global);
  });
}

DecodedWeight DecodeBlocks(Module module) {
  const std::vector<std::int64_t> shape = module.Get("_blocks").shape;  // [E, out, in / 32, 16]
  const std::vector<int> pairs = module.Bytes("_blocks"), scales = module.Bytes("_scales");
  DecodedWeight weight{{shape[0], shape[1], shape[2] * 32}, {}};
  for (std::size_t i = 0; i < 2 * pairs.size(); ++i) {
    const int pair = pairs[i / 2];
    weight.values.push_back(E2m1(i % 2 == 0 ? pair & 15 : pair >> 4) * PowerOfTwo(scales[i / 32]));
  }
  return weight;
}

int Bits(std::uint32_t word, std::size_t bits, std::size_t place) {
  return static_cast<int>(word >> (bits * place) & ((1u << bits) - 1));
}

DecodedWeight DecodePacked(Module module, std::string_view quantizer) {
  const std::vector<std::int64_t> shape = ReadInts(module.Get(".weight_shape"));
  const std::size_t bits = quantizer == "int8-packed" ? 8 : 4, per = 32 / bits;
  const auto cols = static_cast<std::size_t>(shape[1]);
  const std::vector<std::uint32_t> words = module.Words(".weight_packed");
  const std::vector<float> scales = module.Floats(".weight_scale");
  std::vector<std::uint32_t> zeros;
  if (quantizer == "int4-packed-zeros") zeros = module.Words(".weight_zero_point");
  return Fill(shape[0], shape[1], [&](std::size_t r, std::size_t c) {
    const std::size_t groups = cols / 16, group = c / 16;
    const int zero =
        zeros.empty() ? 1 << (bits - 1) : Bits(zeros[r / per * groups + group], bits, r % per);
    const int code = Bits(words[r * (cols / per) + c / per], bits, c % per);
    return static_cast<float>(code - zero) * scales[r * groups + group];
  });
}

DecodedWeight DecodeGptq(Module module, std::string_view quantizer) {
  const std::size_t bits = quantizer == "gptq8" ? 8 : 4, per = 32 / bits;
  const auto out = static_cast<std::size_t>(module.Get(".qweight").shape[1]);
  const std::int64_t in = module.Get(".g_idx").shape[0];
  const std::vector<std::uint32_t> words = module.Words(".qweight");
  const std::vector<std::uint32_t> zeros = module.Words(".qzeros");
  const std::vector<std::uint32_t> groups = module.Words(".g_idx");
  const std::vector<float> scales = module.Floats(".scales");
  const int add = quantizer == "gptq-ordered" ? 0 : 1;
  return Fill(static_cast<std::int64_t>(out), in, [&](std::size_t o, std::size_t i) {
    const int zero = Bits(zeros[groups[i] * (out / per) + o / per], bits, o % per) + add;
    const int code = Bits(words[i / per * out + o], bits, i % per);
    return static_cast<float>(code - zero) * scales[groups[i] * out + o];
  });
}

DecodedWeight DecodeAwq(Module module) {
  constexpr std::size_t kPlaces[] = {0, 4, 1, 5, 2, 6, 3, 7};
  const std::int64_t in = module.Get(".qweight").shape[0];
  const auto out = static_cast<std::size_t>(module.Get(".scales").shape[1]);
  const std::vector<std::uint32_t> words = module.Words(".qweight");
  const std::vector<std::uint32_t> zeros = module.Words(".qzeros");
  const std::vector<float> scales = module.Floats(".scales");
  return Fill(static_cast<std::int64_t>(out), in, [&](std::size_t o, std::size_t i) {
    const std::size_t group = i / 16, place = kPlaces[o % 8];
    const int zero = Bits(zeros[group * (out / 8) + o / 8], 4, place);
    return static_cast<float>(Bits(words[i * (out / 8) + o / 8], 4, place) - zero) *
           scales[group * out + o];
  });
}

}  // namespace

DecodedWeight DecodePlainly(const Checkpoint& checkpoint, std::string_view quantizer,
                            const std::string& name, std::vector<std::string>& names) {
  const Module module(checkpoint, name, names);
  if (quantizer == "mxfp4-fused") return DecodeBlocks(module);
  if (quantizer == "awq") return DecodeAwq(module);
  if (quantizer.starts_with("gptq")) return DecodeGptq(module, quantizer);
  if (quantizer.find("-packed") != quantizer.npos && quantizer.starts_with("int")) {
    return DecodePacked(module, quantizer);
  }
  if (quantizer.find("fp4") != quantizer.npos) return DecodeFourBits(module, quantizer);
  return DecodeEightBits(module, quantizer);
}

}  // namespace cacheready
