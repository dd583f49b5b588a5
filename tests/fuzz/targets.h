// What the fuzzers run, one function a reader of untrusted bytes. A function returns when the input
// was read or refused with an Error; everything else (another exception, a failed CR_CHECK, a
// sanitizer's report) is a finding. The same functions replay the corpus as a plain test.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

namespace cacheready {

void FuzzSafetensorsHeader(std::span<const std::uint8_t> input);  // a whole file
void FuzzShardIndex(std::span<const std::uint8_t> input);         // model.safetensors.index.json
// config.json of a checkpoint that is otherwise in order: reading it, choosing the family, and
// checking every tensor against it.
void FuzzConfig(std::span<const std::uint8_t> input);
// A quantization config (quantization_config of config.json, or a quantizer's own file), zero byte,
// the name of a module.
void FuzzQuantizationConfig(std::span<const std::uint8_t> input);
void FuzzTokenizer(std::span<const std::uint8_t> input);  // tokenizer.json, zero byte, text

}  // namespace cacheready
