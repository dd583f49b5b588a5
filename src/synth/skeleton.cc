// SPDX-License-Identifier: Apache-2.0
#include "synth/skeleton.h"

#include <fmt/format.h>

#include <array>
#include <initializer_list>
#include <string>
#include <utility>

#include "base/error.h"
#include "synth/normal_weights.h"

namespace cacheready {
namespace {

struct PublishedShape {
  std::string_view name;
  std::int64_t layers, hidden, experts, top_k, expert_width, heads, value_heads;
};

constexpr std::array<PublishedShape, 3> kPublished = {{
    {"35B-A3B", 40, 2048, 256, 8, 512, 16, 32},
    {"122B-A10B", 48, 3072, 256, 8, 1024, 32, 64},
    {"397B-A17B", 60, 4096, 512, 10, 1024, 32, 64},
}};

// The numbers of text_config, by their keys.
class TextNumbers {
 public:
  explicit TextNumbers(const Json& config) : text_(GetMember(config, "text_config", kWhat)) {}
  std::int64_t operator[](std::string_view key) const { return GetInt(text_, key, kWhat); }
  bool IsLinearAttention(std::int64_t layer) const {
    const Json& types = GetMember(text_, "layer_types", kWhat);
    return types.at(static_cast<std::size_t>(layer)) == "linear_attention";
  }

 private:
  static constexpr std::string_view kWhat = "config.json";
  const Json& text_;
};

// Collects tensors under the prefix of the module being described.
class TensorList {
 public:
  void Enter(std::string prefix) { prefix_ = std::move(prefix); }
  void Add(std::string_view leaf, std::initializer_list<std::int64_t> shape,
           Dtype dtype = Dtype::kBF16) {
    tensors_.push_back({prefix_ + std::string(leaf), dtype, shape, {}});
  }
  // A linear as FP8 codes with one BF16 scale for each 128 x 128 block.
  void AddFp8(std::string_view module, std::int64_t out, std::int64_t in) {
    Add(fmt::format("{}.weight", module), {out, in}, Dtype::kF8E4M3);
    Add(fmt::format("{}.weight_scale_inv", module), {(out + 127) / 128, (in + 127) / 128});
  }
  std::vector<NewTensor> Take() { return std::move(tensors_); }

 private:
  std::string prefix_;
  std::vector<NewTensor> tensors_;
};

void AddFeedForward(std::string_view module, std::int64_t width, std::int64_t hidden,
                    TensorList* list) {
  list->AddFp8(fmt::format("{}.gate_proj", module), width, hidden);
  list->AddFp8(fmt::format("{}.up_proj", module), width, hidden);
  list->AddFp8(fmt::format("{}.down_proj", module), hidden, width);
}

void AddMoe(const TextNumbers& n, TensorList* list) {
  const std::int64_t hidden = n["hidden_size"], experts = n["num_experts"];
  list->Add("mlp.gate.weight", {experts, hidden});
  list->Add("mlp.shared_expert_gate.weight", {1, hidden});
  AddFeedForward("mlp.shared_expert", n["shared_expert_intermediate_size"], hidden, list);
  for (std::int64_t e = 0; e < experts; ++e) {
    AddFeedForward(fmt::format("mlp.experts.{}", e), n["moe_intermediate_size"], hidden, list);
  }
}

void AddFullAttention(const TextNumbers& n, TensorList* list) {
  const std::int64_t hidden = n["hidden_size"], head = n["head_dim"];
  const std::int64_t query = n["num_attention_heads"] * head;
  const std::int64_t key = n["num_key_value_heads"] * head;
  list->Add("self_attn.q_norm.weight", {head});
  list->Add("self_attn.k_norm.weight", {head});
  list->AddFp8("self_attn.q_proj", 2 * query, hidden);  // with the output gate
  list->AddFp8("self_attn.k_proj", key, hidden);
  list->AddFp8("self_attn.v_proj", key, hidden);
  list->AddFp8("self_attn.o_proj", hidden, query);
}

void AddLinearAttention(const TextNumbers& n, TensorList* list) {
  const std::int64_t hidden = n["hidden_size"], heads = n["linear_num_value_heads"];
  const std::int64_t key = n["linear_num_key_heads"] * n["linear_key_head_dim"];
  const std::int64_t value = heads * n["linear_value_head_dim"];
  list->Add("linear_attn.A_log", {heads}, Dtype::kF32);
  list->Add("linear_attn.dt_bias", {heads});
  list->Add("linear_attn.norm.weight", {n["linear_value_head_dim"]}, Dtype::kF32);
  list->Add("linear_attn.conv1d.weight", {2 * key + value, 1, n["linear_conv_kernel_dim"]});
  list->Add("linear_attn.in_proj_a.weight", {heads, hidden});
  list->Add("linear_attn.in_proj_b.weight", {heads, hidden});
  list->AddFp8("linear_attn.in_proj_qkv", 2 * key + value, hidden);
  list->AddFp8("linear_attn.in_proj_z", value, hidden);
  list->AddFp8("linear_attn.out_proj", hidden, value);
}

void AddLayer(const TextNumbers& n, bool linear_attention, TensorList* list) {
  list->Add("input_layernorm.weight", {n["hidden_size"]});
  list->Add("post_attention_layernorm.weight", {n["hidden_size"]});
  if (linear_attention) {
    AddLinearAttention(n, list);
  } else {
    AddFullAttention(n, list);
  }
  AddMoe(n, list);
}

void AddMtp(const TextNumbers& n, TensorList* list) {
  const std::int64_t hidden = n["hidden_size"];
  list->Enter("mtp.");
  list->Add("fc.weight", {hidden, 2 * hidden});
  list->Add("norm.weight", {hidden});
  list->Add("pre_fc_norm_embedding.weight", {hidden});
  list->Add("pre_fc_norm_hidden.weight", {hidden});
  for (std::int64_t layer = 0; layer < n["mtp_num_hidden_layers"]; ++layer) {
    list->Enter(fmt::format("mtp.layers.{}.", layer));
    AddLayer(n, false, list);
  }
}

void AddVision(const Json& config, TensorList* list) {
  const Json& vision = GetMember(config, "vision_config", "config.json");
  const auto number = [&](std::string_view key) { return GetInt(vision, key, "vision_config"); };
  const std::int64_t width = number("hidden_size"), inner = number("intermediate_size");
  const std::int64_t patch = number("patch_size"), merge = number("spatial_merge_size");
  const std::int64_t merged = width * merge * merge;
  const auto add_linear = [&](std::string_view module, std::int64_t out, std::int64_t in) {
    list->Add(fmt::format("{}.weight", module), {out, in});
    list->Add(fmt::format("{}.bias", module), {out});
  };
  const auto add_norm = [&](std::string_view module) {
    list->Add(fmt::format("{}.weight", module), {width});
    list->Add(fmt::format("{}.bias", module), {width});
  };
  list->Enter("model.visual.");
  list->Add("patch_embed.proj.weight",
            {width, number("in_channels"), number("temporal_patch_size"), patch, patch});
  list->Add("patch_embed.proj.bias", {width});
  list->Add("pos_embed.weight", {number("num_position_embeddings"), width});
  add_norm("merger.norm");
  add_linear("merger.linear_fc1", merged, merged);
  add_linear("merger.linear_fc2", number("out_hidden_size"), merged);
  for (std::int64_t block = 0; block < number("depth"); ++block) {
    list->Enter(fmt::format("model.visual.blocks.{}.", block));
    add_norm("norm1");
    add_norm("norm2");
    add_linear("attn.qkv", 3 * width, width);
    add_linear("attn.proj", width, width);
    add_linear("mlp.linear_fc1", inner, width);
    add_linear("mlp.linear_fc2", width, inner);
  }
}

Json VisionConfig(std::int64_t hidden) {
  return Json{{"model_type", "qwen3_5_moe"},
              {"depth", 27},
              {"hidden_size", 1152},
              {"hidden_act", "gelu_pytorch_tanh"},
              {"intermediate_size", 4304},
              {"num_heads", 16},
              {"in_channels", 3},
              {"patch_size", 16},
              {"spatial_merge_size", 2},
              {"temporal_patch_size", 2},
              {"out_hidden_size", hidden},
              {"num_position_embeddings", 2304}};
}

Json TextConfig(const PublishedShape& shape) {
  Json layer_types = Json::array();
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    layer_types.push_back(layer % 4 == 3 ? "full_attention" : "linear_attention");
  }
  return Json{{"model_type", "qwen3_5_moe_text"},
              {"vocab_size", 248320},
              {"hidden_size", shape.hidden},
              {"num_hidden_layers", shape.layers},
              {"num_attention_heads", shape.heads},
              {"num_key_value_heads", 2},
              {"head_dim", 256},
              {"attn_output_gate", true},
              {"hidden_act", "silu"},
              {"max_position_embeddings", 262144},
              {"rms_norm_eps", 1e-6},
              {"tie_word_embeddings", false},
              {"attention_bias", false},
              {"rope_parameters",
               {{"rope_type", "default"},
                {"rope_theta", 10000000},
                {"partial_rotary_factor", 0.25},
                {"mrope_interleaved", true},
                {"mrope_section", {11, 11, 10}}}},
              {"linear_conv_kernel_dim", 4},
              {"linear_key_head_dim", 128},
              {"linear_value_head_dim", 128},
              {"linear_num_key_heads", 16},
              {"linear_num_value_heads", shape.value_heads},
              {"moe_intermediate_size", shape.expert_width},
              {"shared_expert_intermediate_size", shape.expert_width},
              {"num_experts", shape.experts},
              {"num_experts_per_tok", shape.top_k},
              {"full_attention_interval", 4},
              {"layer_types", layer_types},
              {"mamba_ssm_dtype", "float32"},
              {"mtp_num_hidden_layers", 1},
              {"eos_token_id", 248044}};
}

}  // namespace

Json Qwen35MoeFp8Config(std::string_view size) {
  for (const PublishedShape& shape : kPublished) {
    if (shape.name != size) continue;
    return Json{{"architectures", {"Qwen3_5MoeForConditionalGeneration"}},
                {"model_type", "qwen3_5_moe"},
                {"dtype", "bfloat16"},
                {"tie_word_embeddings", false},
                {"text_config", TextConfig(shape)},
                {"vision_config", VisionConfig(shape.hidden)},
                {"quantization_config",
                 {{"quant_method", "fp8"},
                  {"fmt", "e4m3"},
                  {"activation_scheme", "dynamic"},
                  {"weight_block_size", {128, 128}}}}};
  }
  Fail("no published shape '{}'; known: 35B-A3B, 122B-A10B, 397B-A17B", size);
}

std::vector<NewTensor> Qwen35MoeFp8Tensors(const Json& config) {
  const TextNumbers n(config);
  TensorList list;
  const std::int64_t hidden = n["hidden_size"], vocabulary = n["vocab_size"];
  list.Enter("");
  list.Add("model.language_model.embed_tokens.weight", {vocabulary, hidden});
  for (std::int64_t layer = 0; layer < n["num_hidden_layers"]; ++layer) {
    list.Enter(fmt::format("model.language_model.layers.{}.", layer));
    AddLayer(n, n.IsLinearAttention(layer), &list);
  }
  list.Enter("");
  list.Add("model.language_model.norm.weight", {hidden});
  list.Add("lm_head.weight", {vocabulary, hidden});
  AddMtp(n, &list);
  AddVision(config, &list);
  return list.Take();
}

void WriteSkeleton(const Json& config, const SkeletonOptions& options,
                   const std::filesystem::path& out) {
  const std::vector<NewShard> shards =
      AssignShards(Qwen35MoeFp8Tensors(config), options.shard_bytes);
  FillShard fill;
  if (options.normal_weights) {
    fill = [&](const auto& file, std::uint64_t data_begin, const NewShard& shard) {
      WriteNormalWeights(file, data_begin, shard, *options.normal_weights);
    };
  }
  WriteSparseCheckpoint(out, config, shards, options.tokenizer_from, fill);
}

}  // namespace cacheready
