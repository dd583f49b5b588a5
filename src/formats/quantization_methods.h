// What quantization_config.cc knows of the files that read the configs of the several quantizers.
// Each fills in groups, excluded and kv_cache.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "formats/quantization_config.h"

namespace cacheready {

void ReadFp8Config(const Json& config, QuantizationConfig& result);
void ReadMxfp4Config(const Json& config, QuantizationConfig& result);
void ReadModeloptConfig(const Json& config, QuantizationConfig& result);
void ReadCompressedTensorsConfig(const Json& config, QuantizationConfig& result);
void ReadGptqConfig(const Json& config, QuantizationConfig& result);
void ReadAwqConfig(const Json& config, QuantizationConfig& result);
void ReadAutoRoundConfig(const Json& config, QuantizationConfig& result);

// Strings of the array under `key`; empty if it is absent or null.
std::vector<std::string> ReadTexts(const Json& object, std::string_view key, std::string_view what);
// A pair of positive numbers, e.g. weight_block_size: {0, 0} if absent or null.
BlockShape ReadBlock(const Json& object, std::string_view key, std::string_view what);
// The object under `key`, an empty one if it is absent or null.
const Json& ReadObject(const Json& object, std::string_view key, std::string_view what);
// A group size: a positive number; -1, 0, null or absent: none.
std::int64_t ReadGroupSize(const Json& object, std::string_view key, std::string_view what);

[[noreturn]] void RefuseValue(std::string_view what, std::string_view key, std::string_view found,
                              std::string_view known);

}  // namespace cacheready
