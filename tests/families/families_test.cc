// What holds for every family, on the tiny checkpoints of goldens/families: each tensor is needed
// and its shape checked, a router's spec survives its file format, config values that are not
// computed are refused by name.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <ostream>
#include <regex>
#include <set>

#include "base/random.h"
#include "model/model.h"
#include "support/changed_checkpoint.h"
#include "synth/scratch_folder.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::vector<fs::path> Folders() {
  std::vector<fs::path> folders;
  for (const fs::directory_entry& entry : fs::directory_iterator(FamilyGoldens())) {
    folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

// "model.layers.1.mlp.experts.5.up_proj.weight" stands for all its layers and experts.
std::string KindOf(const std::string& tensor) {
  static const std::regex number("\\.[0-9]+\\.");
  return std::regex_replace(tensor, number, ".N.");
}

// The last tensor of each kind.
std::vector<std::string> OneOfEachKind(const ChangedCheckpoint& checkpoint) {
  std::set<std::string> kinds;
  std::vector<std::string> names;
  for (auto tensor = checkpoint.tensors.rbegin(); tensor != checkpoint.tensors.rend(); ++tensor) {
    if (kinds.insert(KindOf(tensor->name)).second) names.push_back(tensor->name);
  }
  return names;
}

// What a message has to name: "layers.1.mlp.gate" of model.layers.1.mlp.gate.weight. A family with
// several prefixes cannot tell which one a missing embedding would have had.
std::string ModuleOf(std::string tensor) {
  const std::string prefix = "model.", suffix = ".weight";
  if (tensor.starts_with(prefix)) tensor.erase(0, prefix.size());
  if (tensor.ends_with(suffix)) tensor.erase(tensor.size() - suffix.size());
  return tensor;
}

class EveryFamily : public testing::TestWithParam<fs::path> {};

TEST_P(EveryFamily, AskForEachStoredTensorByName) {
  for (const std::string& name : OneOfEachKind(ChangedCheckpoint(GetParam()))) {
    ChangedCheckpoint changed(GetParam());
    changed.Remove(name);
    EXPECT_THAT(Refusal(changed), HasSubstr(ModuleOf(name)));
  }
}

TEST_P(EveryFamily, CheckEachShape) {
  for (const std::string& name : OneOfEachKind(ChangedCheckpoint(GetParam()))) {
    ChangedCheckpoint changed(GetParam());
    // The same number of bytes, one more dim: only a check of the shape can notice.
    changed.Find(name).shape.push_back(1);
    EXPECT_THAT(Refusal(changed), AllOf(HasSubstr("expected"), HasSubstr(ModuleOf(name))));
  }
}

// A plan is made from the spec as the scan stored it.
TEST_P(EveryFamily, KeepTheirRoutingThroughTheFileFormat) {
  const Checkpoint checkpoint = Checkpoint::Open(GetParam());
  const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  ASSERT_FALSE(model->info().moe_layers.empty());
  for (const MoeLayerInfo& info : model->info().moe_layers) {
    const std::unique_ptr<Layer> layer = model->OpenLayer(info.layer);
    const RouterSpec& spec = layer->moe()->router;
    const RouterSpec read = RouterSpecFromJson(ParseJson(WriteJson(ToJson(spec)), "spec"), "spec");
    Matrix logits(100, spec.experts);
    for (std::size_t n = 0; n < logits.values().size(); ++n) {
      logits.values()[n] = static_cast<float>(NormalAt(11, n));
    }
    const Routing expected = Route(spec, logits, Fp32Arithmetic());
    const Routing found = Route(read, logits, Fp32Arithmetic());
    EXPECT_EQ(found.ids, expected.ids);
    EXPECT_EQ(found.weights, expected.weights);
    EXPECT_EQ(found.margin, expected.margin);
    EXPECT_EQ(read.weights_on_input, spec.weights_on_input);
  }
}

std::string TestName(const testing::TestParamInfo<fs::path>& parameter) {
  std::string name = parameter.param.filename().string();
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(All, EveryFamily, testing::ValuesIn(Folders()), TestName);

// One line a refusal: the folder whose config is changed, the key, the value, and what the message
// names besides the file ("" = the key).
struct RefusedValue {
  std::string folder;
  std::string key;
  Json value;
  std::string named = "";
};
void PrintTo(const RefusedValue& line, std::ostream* out) {
  *out << line.folder << ": " << line.key << " = " << line.value.dump();
}

const RefusedValue kRefused[] = {
    {"deepseek_v2", "hidden_act", "gelu"},
    {"deepseek_v2", "scoring_func", "sigmoid"},
    {"deepseek_v2", "topk_method", "noaux_tc"},
    {"deepseek_v2", "norm_topk_prob", true},
    {"deepseek_v2", "num_key_value_heads", 2},
    {"deepseek_v2", "moe_layer_freq", 2, "model.layers.1.mlp.gate_proj"},
    {"deepseek_v3", "hidden_act", "gelu"},
    {"deepseek_v3", "scoring_func", "softmax"},
    {"deepseek_v3", "topk_method", "greedy"},
    {"deepseek_v3", "n_group", 3},
    {"deepseek_v3", "topk_group", 5},
    {"deepseek_v3", "topk_group", 0},
    {"deepseek_v3", "num_experts_per_tok", 17},
    {"deepseek_v3", "num_experts_per_tok", 9, "hold fewer than the 9"},
    {"deepseek_v3", "num_key_value_heads", 2},
    {"deepseek_v3", "partial_rotary_factor", 0.5},
    {"deepseek_v3", "n_shared_experts", 0, "shared_experts"},
    {"dots1", "hidden_act", "gelu"},
    {"dots1", "scoring_func", "softmax"},
    {"dots1", "topk_method", "greedy"},
    {"dots1", "moe_layer_freq", 2},
    {"dots1", "num_experts_per_tok", 17},
    {"dots1", "n_group", 3},
    {"dots1", "layer_types", {"full_attention", "full_attention", "chunked", "full_attention"}},
    {"ernie4_5_moe", "hidden_act", "gelu"},
    {"ernie4_5_moe", "moe_gate", "top2_fused"},
    {"ernie4_5_moe", "moe_k", 17},
    {"ernie4_5_moe", "moe_layer_interval", 0},
    {"glm4_moe", "hidden_act", "gelu"},
    {"glm4_moe", "scoring_func", "softmax"},
    {"glm4_moe", "num_key_value_heads", 3},
    {"glm4_moe", "n_group", 3},
    {"glm4_moe", "use_qk_norm", true, "self_attn.q_norm"},
    {"glm4_moe", "n_shared_experts", 2, "shared_experts"},
    {"gpt_oss", "hidden_act", "gelu"},
    {"gpt_oss", "swiglu_limit", 5.0},
    {"gpt_oss", "sliding_window", nullptr},
    {"gpt_oss", "rope_parameters", nullptr},
    {"gpt_oss", "num_experts_per_tok", 9},
    {"gpt_oss", "partial_rotary_factor", 0.5},
    {"gpt_oss", "layer_types", {"a", "b", "c", "d"}},
    {"granitemoe", "hidden_act", "gelu"},
    {"granitemoe", "attention_multiplier", 0},
    {"granitemoe", "num_experts_per_tok", 9},
    {"granitemoe", "model_type", "granitemoehybrid"},
    {"hunyuan_v1_moe", "hidden_act", "gelu"},
    {"hunyuan_v1_moe", "mlp_bias", true},
    {"hunyuan_v1_moe", "use_cla", true},
    {"hunyuan_v1_moe", "moe_drop_tokens", true},
    {"hunyuan_v1_moe", "norm_topk_prob", false},
    {"hunyuan_v1_moe", "use_rotary_pos_emb", false},
    {"hunyuan_v1_moe", "moe_topk", {2, 2}},
    {"hunyuan_v1_moe", "moe_topk", {2, 2, 9, 2}, "layer 2 sends a token to 9 of 8 experts"},
    {"hunyuan_v1_moe", "rope_scaling", {{"type", "dynamic"}, {"factor", 2.0}}, "alpha"},
    {"jamba", "hidden_act", "gelu"},
    {"jamba", "sliding_window", 8},
    {"jamba", "attn_layer_offset", 4},
    {"jamba", "expert_layer_offset", 2},
    {"jamba", "num_experts_per_tok", 9},
    {"jamba", "mamba_dt_rank", "half"},
    {"lfm2_moe", "layer_types", nullptr},
    {"lfm2_moe", "layer_types", {"conv"}},
    {"lfm2_moe", "layer_types", {"conv", "a", "conv", "conv"}},
    {"lfm2_moe", "num_experts_per_tok", 17},
    {"lfm2_moe", "partial_rotary_factor", 0.5},
    {"lfm2_moe", "conv_bias", true, "conv.in_proj.bias"},
    {"llama4_text", "hidden_act", "gelu"},
    {"llama4_text", "attention_chunk_size", nullptr},
    {"llama4_text", "no_rope_layers", {1, 0}},
    {"llama4_text", "layer_types", {"full_attention"}},
    {"llama4_text", "layer_types", {"a", "full_attention", "full_attention", "full_attention"}},
    {"llama4_text", "num_experts_per_tok", 9},
    {"llama4_text", "num_key_value_heads", 3},
    {"llama4_text", "partial_rotary_factor", 0.5},
    {"minimax_m2", "hidden_act", "gelu"},
    {"minimax_m2", "scoring_func", "softmax"},
    {"minimax_m2", "qk_norm_type", "per_head"},
    {"minimax_m2", "use_qk_norm", false},
    {"minimax_m2", "shared_intermediate_size", 64},
    {"minimax_m2", "attn_type_list", {1, 1, 0, 1}},
    {"minimax_m2", "num_experts_per_tok", 17},
    {"mixtral", "hidden_act", "gelu"},
    {"mixtral", "sliding_window", 0},
    {"mixtral", "num_key_value_heads", 3},
    {"mixtral", "num_experts_per_tok", 9},
    {"mixtral", "rope_scaling", {{"type", "xpos"}}, "rope_type"},
    {"olmoe", "hidden_act", "gelu"},
    {"olmoe", "clip_qkv", 0},
    {"olmoe", "sliding_window", 16},
    {"phimoe", "hidden_act", "gelu"},
    {"phimoe", "num_experts_per_tok", 3},
    {"phimoe", "rope_scaling", {{"type", "yarn"}, {"factor", 2.0}}, "rope_type"},
    {"phimoe", "rope_scaling", {{"type", "longrope"}}, "short_mscale"},
    {"qwen2_moe", "hidden_act", "gelu"},
    {"qwen2_moe", "mlp_only_layers", {4}},
    {"qwen2_moe", "mlp_only_layers", {0, 1, 2, 3}, "mlp.gate_proj"},
    {"qwen2_moe",
     "layer_types",
     {"sliding_attention", "full_attention", "full_attention", "full_attention"},
     "use_sliding_window"},
    {"qwen3_moe", "hidden_act", "gelu"},
    {"qwen3_moe", "shared_expert_intermediate_size", 32},
    {"qwen3_moe", "num_experts_per_tok", 17},
    {"qwen3_next", "hidden_act", "gelu"},
    {"qwen3_next", "attn_output_gate", false},
    {"qwen3_next", "use_sliding_window", true},
    {"qwen3_next", "linear_num_value_heads", 3},
    {"qwen3_next", "layer_types", {"a", "b", "c", "d"}},
};

class RefusedConfig : public testing::TestWithParam<RefusedValue> {};

TEST_P(RefusedConfig, NamesTheKey) {
  const RefusedValue& line = GetParam();
  ChangedCheckpoint changed(FamilyGoldens() / line.folder);
  changed.config[line.key] = line.value;
  if (line.key == "rope_scaling") changed.config.erase("rope_parameters");
  EXPECT_THAT(Refusal(changed), HasSubstr(line.named.empty() ? line.key : line.named));
}

INSTANTIATE_TEST_SUITE_P(All, RefusedConfig, testing::ValuesIn(kRefused));

// transformers writes the kinds of layers out; published configs may leave them to the rule.
TEST(Families, KindsOfLayersFollowTheirRuleWhereTheConfigIsSilent) {
  for (const char* folder : {"qwen2_moe-sliding_window", "dots1-resaved", "qwen3_next"}) {
    ChangedCheckpoint changed(FamilyGoldens() / folder);
    changed.config.erase("layer_types");
    EXPECT_EQ(ForwardBits(changed.Write()), ForwardBits(Checkpoint::Open(FamilyGoldens() / folder)))
        << folder;
  }
}

// Hunyuan-A13B as published: lists by layer, and names that transformers does not read.
TEST(HunyuanMoe, PublishedConfigGivesTheBitsOfTheResavedOne) {
  const fs::path folder = FamilyGoldens() / "hunyuan_v1_moe";
  ChangedCheckpoint changed(folder);
  changed.config.erase("head_dim");
  changed.config["attention_head_dim"] = 32;
  changed.config["moe_topk"] = {2, 2, 2, 2};
  changed.config["num_experts"] = {8, 8, 8, 8};
  changed.config["moe_intermediate_size"] = {32, 32, 32, 32};
  changed.config["num_shared_expert"] = {1, 1, 1, 1};
  changed.config["use_mixed_mlp_moe"] = true;
  changed.config["use_qk_norm"] = true;
  changed.config["moe_layer_num_skipped"] = 0;
  EXPECT_EQ(ForwardBits(changed.Write()), ForwardBits(Checkpoint::Open(folder)));
}

TEST(HunyuanMoe, SwitchesOfThePublishedCodeAskForOtherTensors) {
  const std::tuple<const char*, Json, const char*> changes[] = {
      {"moe_layer_num_skipped", 1, "model.layers.0.mlp.gate_proj"},
      {"num_shared_expert", 2, "shared_mlp.gate_proj"},
      {"use_mixed_mlp_moe", false, "shared_mlp"},
      {"moe_intermediate_size", {32, 32, 64, 32}, "model.layers.2.mlp"},
      {"num_experts", {8, 8, 8, 16}, "model.layers.3.mlp.gate.wg"}};
  for (const auto& [key, value, named] : changes) {
    ChangedCheckpoint changed(FamilyGoldens() / "hunyuan_v1_moe");
    changed.config[key] = value;
    EXPECT_THAT(Refusal(changed), HasSubstr(named)) << key;
  }
  ChangedCheckpoint changed(FamilyGoldens() / "hunyuan_v1_moe");
  changed.config["use_qk_norm"] = false;
  EXPECT_NE(ForwardBits(changed.Write()),
            ForwardBits(Checkpoint::Open(FamilyGoldens() / "hunyuan_v1_moe")));
}

// Of the blocks that transformers drops, only the routers count.
TEST(Qwen3Next, RoutersOfPredictionBlocksAreFound) {
  ChangedCheckpoint changed(FamilyGoldens() / "qwen3_next");
  ChangedCheckpoint::Tensor gate = changed.Find("model.layers.0.mlp.gate.weight");
  gate.name = "mtp.layers.0.mlp.gate.weight";
  changed.tensors.push_back(gate);
  const Checkpoint checkpoint = changed.Write();
  const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  ASSERT_EQ(model->info().mtp_routers.size(), 1u);
  EXPECT_EQ(model->info().mtp_routers[0].tensors.weight, gate.name);
}

}  // namespace
}  // namespace cacheready
