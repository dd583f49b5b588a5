// The table of families: one file under families/ and one line here each.
// SPDX-License-Identifier: Apache-2.0
#include "model/families/families.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/model.h"

namespace cacheready {
namespace {

constexpr Family kFamilies[] = {
    {"deepseek_v2", MatchesDeepseekV2, DescribeDeepseekV2},
    {"deepseek_v3", MatchesDeepseekV3, DescribeDeepseekV3},
    {"dots1", MatchesDots1, DescribeDots1},
    {"ernie4_5_moe", MatchesErnieMoe, DescribeErnieMoe},
    {"glm4_moe", MatchesGlm4Moe, DescribeGlm4Moe},
    {"gpt_oss", MatchesGptOss, DescribeGptOss},
    {"granitemoe", MatchesGraniteMoe, DescribeGraniteMoe},
    {"hunyuan_v1_moe", MatchesHunyuanMoe, DescribeHunyuanMoe},
    {"jamba", MatchesJamba, DescribeJamba},
    {"lfm2_moe", MatchesLfm2Moe, DescribeLfm2Moe},
    {"llama4", MatchesLlama4, DescribeLlama4},
    {"minimax_m2", MatchesMiniMaxM2, DescribeMiniMaxM2},
    {"mixtral", MatchesMixtral, DescribeMixtral},
    {"olmoe", MatchesOlmoe, DescribeOlmoe},
    {"phimoe", MatchesPhimoe, DescribePhimoe},
    {"qwen2_moe", MatchesQwen2Moe, DescribeQwen2Moe},
    {"qwen3_5_moe", MatchesQwen35Moe, DescribeQwen35Moe},
    {"qwen3_moe", MatchesQwen3Moe, DescribeQwen3Moe},
    {"qwen3_next", MatchesQwen3Next, DescribeQwen3Next},
};

std::string ModelType(const Json& config) {
  const Json* type = FindMember(config, "model_type");
  return type != nullptr && type->is_string() ? type->get<std::string>() : "";
}

}  // namespace

std::span<const Family> Families() { return kFamilies; }

bool HasModelType(const Json& config, std::initializer_list<std::string_view> types) {
  const std::string found = ModelType(config);
  return std::find(types.begin(), types.end(), found) != types.end();
}

std::unique_ptr<Model> DescribeModel(const Checkpoint& checkpoint) {
  std::vector<std::string_view> names;
  for (const Family& family : Families()) {
    if (family.matches(checkpoint.text_config(), checkpoint.config())) {
      return family.describe(checkpoint);
    }
    names.push_back(family.name);
  }
  const Json* architectures = FindMember(checkpoint.config(), "architectures");
  Fail("{}/config.json: model_type '{}' (architectures {}) is no family that is implemented: {}",
       checkpoint.folder().string(), ModelType(checkpoint.config()),
       architectures != nullptr ? architectures->dump() : "none", fmt::join(names, ", "));
}

}  // namespace cacheready
