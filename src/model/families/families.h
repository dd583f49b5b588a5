// What families.cc knows of each file in this folder: whether a config is meant for it, and how it
// describes a checkpoint.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <memory>
#include <string_view>

#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "model/model.h"

namespace cacheready {

// True if the config's model_type is one of these.
bool HasModelType(const Json& config, std::initializer_list<std::string_view> types);

bool MatchesDeepseekV2(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribeDeepseekV2(const Checkpoint& checkpoint);

bool MatchesDeepseekV3(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribeDeepseekV3(const Checkpoint& checkpoint);

bool MatchesGlm4Moe(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribeGlm4Moe(const Checkpoint& checkpoint);

bool MatchesGptOss(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribeGptOss(const Checkpoint& checkpoint);

bool MatchesJamba(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribeJamba(const Checkpoint& checkpoint);

bool MatchesLfm2Moe(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribeLfm2Moe(const Checkpoint& checkpoint);

bool MatchesLlama4(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribeLlama4(const Checkpoint& checkpoint);

bool MatchesMiniMaxM2(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribeMiniMaxM2(const Checkpoint& checkpoint);

bool MatchesQwen35Moe(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribeQwen35Moe(const Checkpoint& checkpoint);

bool MatchesQwen3Next(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribeQwen3Next(const Checkpoint& checkpoint);

bool MatchesQwen3Moe(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribeQwen3Moe(const Checkpoint& checkpoint);

bool MatchesQwen2Moe(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribeQwen2Moe(const Checkpoint& checkpoint);

bool MatchesMixtral(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribeMixtral(const Checkpoint& checkpoint);

bool MatchesOlmoe(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribeOlmoe(const Checkpoint& checkpoint);

bool MatchesPhimoe(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribePhimoe(const Checkpoint& checkpoint);

bool MatchesGraniteMoe(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribeGraniteMoe(const Checkpoint& checkpoint);

bool MatchesErnieMoe(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribeErnieMoe(const Checkpoint& checkpoint);

bool MatchesDots1(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribeDots1(const Checkpoint& checkpoint);

bool MatchesHunyuanMoe(const Json& text_config, const Json& config);
std::unique_ptr<Model> DescribeHunyuanMoe(const Checkpoint& checkpoint);

}  // namespace cacheready
