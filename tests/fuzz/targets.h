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
void FuzzDocuments(std::span<const std::uint8_t> input);  // JSON lines
void FuzzIds(std::span<const std::uint8_t> input);        // token ids: JSON, .npy or safetensors
void FuzzPlan(std::span<const std::uint8_t> input);   // plan.json, as given or as OUT carries it
void FuzzDelta(std::span<const std::uint8_t> input);  // x.delta.safetensors
void FuzzWriteJournal(std::span<const std::uint8_t> input);
void FuzzScanJournal(std::span<const std::uint8_t> input);  // journal, zero byte, hidden states
void FuzzScanHeader(std::span<const std::uint8_t> input);   // scan.json
// A layer's record, and planning from it.
void FuzzLayerRecord(std::span<const std::uint8_t> input);
// An object with plan, check, verification, evaluation, stability, scan and run.
void FuzzReport(std::span<const std::uint8_t> input);
// tiktoken.model, zero byte, tokenizer_config.json, zero byte, text.
void FuzzTiktoken(std::span<const std::uint8_t> input);

}  // namespace cacheready
