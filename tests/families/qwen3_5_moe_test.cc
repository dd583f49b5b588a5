// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "model/model.h"
#include "support/changed_checkpoint.h"
#include "synth/skeleton.h"

namespace cacheready {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const std::filesystem::path kSource = CACHEREADY_SOURCE_DIR;
const std::filesystem::path kTextOnly = kSource / "goldens/families/qwen3_5_moe_text";

TEST(Qwen35Moe, DescribesThePublishedFp8Layout) {
  const Checkpoint checkpoint = Checkpoint::Open(kSource / "models/reference-fp8");
  const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  const ModelInfo& info = model->info();
  EXPECT_EQ(info.family, "qwen3_5_moe");
  EXPECT_EQ(info.layers, 4);
  EXPECT_EQ(info.hidden, 256);
  EXPECT_EQ(info.vocab, 4096);
  EXPECT_EQ(info.experts, 32);
  EXPECT_EQ(info.top_k, 4);
  EXPECT_EQ(info.expert_format, "fp8-block");
  EXPECT_EQ(info.expert_layout, "per-expert");
  ASSERT_EQ(info.moe_layers.size(), 4u);
  EXPECT_EQ(info.moe_layers[3].layer, 3);
  EXPECT_EQ(info.moe_layers[3].tensors.weight, "model.language_model.layers.3.mlp.gate.weight");
  ASSERT_EQ(info.mtp_routers.size(), 1u);
  EXPECT_EQ(info.mtp_routers[0].layer, -1);
  EXPECT_EQ(info.mtp_routers[0].tensors.weight, "mtp.layers.0.mlp.gate.weight");
}

TEST(Qwen35Moe, FusedExpertsOfEitherOrientationGiveTheBitsOfSeparateOnes) {
  const std::vector<std::byte> expected = ForwardBits(Checkpoint::Open(kTextOnly));
  for (const bool transposed : {false, true}) {
    ChangedCheckpoint changed(kTextOnly);
    for (const int layer : {0, 1, 3}) {  // layer 2 stays per expert: layouts may mix
      changed.FuseExperts(fmt::format("model.layers.{}.mlp.experts", layer), 16, transposed);
    }
    const Checkpoint checkpoint = changed.Write();
    EXPECT_EQ(DescribeModel(checkpoint)->info().expert_layout, "fused");
    EXPECT_EQ(ForwardBits(checkpoint), expected) << "transposed: " << transposed;
  }
}

// The hidden size is 64 and the width 32, so [16, 2 x 32, 64] fits both ways: the down projection
// has to tell.
TEST(Qwen35Moe, ASquareGateUpProjectionIsReadAsTheDownProjectionLies) {
  ChangedCheckpoint changed(kTextOnly);
  changed.FuseExperts("model.layers.0.mlp.experts", 16, true);
  EXPECT_EQ(changed.Find("model.layers.0.mlp.experts.gate_up_proj").shape,
            (std::vector<std::int64_t>{16, 64, 64}));
  EXPECT_EQ(ForwardBits(changed.Write()), ForwardBits(Checkpoint::Open(kTextOnly)));
}

TEST(Qwen35Moe, ExpertsStoredTwiceAreRefused) {
  ChangedCheckpoint changed(kTextOnly);
  const ChangedCheckpoint::Tensor gate =
      changed.Find("model.layers.1.mlp.experts.0.gate_proj.weight");
  changed.FuseExperts("model.layers.1.mlp.experts", 16, false);
  changed.tensors.push_back(gate);
  EXPECT_THAT(Refusal(changed), HasSubstr("'model.layers.1.mlp.experts' is stored twice"));
}

TEST(Qwen35Moe, HalfOfAFusedPairIsRefused) {
  ChangedCheckpoint changed(kTextOnly);
  changed.FuseExperts("model.layers.1.mlp.experts", 16, false);
  changed.Remove("model.layers.1.mlp.experts.down_proj");
  EXPECT_THAT(Refusal(changed), HasSubstr("fused experts need both"));
}

TEST(Qwen35Moe, FusedExpertsOfAnotherShapeAreRefusedWithBothShapes) {
  ChangedCheckpoint changed(kTextOnly);
  changed.FuseExperts("model.layers.1.mlp.experts", 16, false);
  changed.Find("model.layers.1.mlp.experts.down_proj").shape = {16, 128, 16};
  EXPECT_THAT(Refusal(changed), AllOf(HasSubstr("[16, 128, 16]"), HasSubstr("[16, 64, 32]")));
}

TEST(Qwen35Moe, TiedEmbeddingsAreTheHead) {
  ChangedCheckpoint changed(kTextOnly);
  const std::vector<std::byte> embedding = changed.Find("model.embed_tokens.weight").bytes;
  changed.Find("lm_head.weight").bytes = embedding;
  const std::vector<std::byte> expected = ForwardBits(changed.Write());
  changed.Remove("lm_head.weight");
  EXPECT_THAT(Refusal(changed), HasSubstr("lm_head"));
  changed.config["tie_word_embeddings"] = true;
  EXPECT_EQ(ForwardBits(changed.Write()), expected);
}

TEST(Qwen35Moe, EveryTensorOfALayerIsAskedFor) {
  const ChangedCheckpoint names(kTextOnly);
  for (const auto& tensor : names.tensors) {
    if (tensor.name.find(".experts.") != std::string::npos &&
        tensor.name.find(".experts.9.") == std::string::npos) {
      continue;  // one expert stands for all
    }
    ChangedCheckpoint changed(kTextOnly);
    changed.Remove(tensor.name);
    const std::string module = tensor.name.substr(0, tensor.name.rfind(".weight"));
    EXPECT_THAT(Refusal(changed), HasSubstr(module.substr(module.rfind('.') + 1)));
  }
}

TEST(Qwen35Moe, EveryShapeIsCheckedAgainstTheConfig) {
  const ChangedCheckpoint names(kTextOnly);
  for (const auto& tensor : names.tensors) {
    if (tensor.name.find(".experts.") != std::string::npos &&
        tensor.name.find(".experts.9.") == std::string::npos) {
      continue;
    }
    ChangedCheckpoint changed(kTextOnly);
    // The same number of bytes, one more dim: only a check of the shape can notice.
    changed.Find(tensor.name).shape.push_back(1);
    EXPECT_THAT(Refusal(changed), HasSubstr("expected")) << tensor.name;
  }
}

TEST(Qwen35Moe, ConfigsThatChangeTheMathematicsAreRefusedByKey) {
  const std::pair<const char*, Json> changes[] = {{"attention_bias", true},
                                                  {"hidden_act", "gelu"},
                                                  {"attn_output_gate", false},
                                                  {"mlp_only_layers", {0}},
                                                  {"norm_topk_prob", false},
                                                  {"decoder_sparse_step", 2},
                                                  {"use_sliding_window", true},
                                                  {"num_experts_per_tok", 17},
                                                  {"num_experts_per_tok", 0},
                                                  {"num_key_value_heads", 3},
                                                  {"linear_num_value_heads", 3},
                                                  {"num_hidden_layers", 3},
                                                  {"layer_types", {"a", "b", "c", "d"}}};
  for (const auto& [key, value] : changes) {
    ChangedCheckpoint changed(kTextOnly);
    changed.config[key] = value;
    const char* named = std::strcmp(key, "num_hidden_layers") == 0 ? "layer_types" : key;
    EXPECT_THAT(Refusal(changed), AllOf(HasSubstr("config.json"), HasSubstr(named)));
  }
}

TEST(Qwen35Moe, UnknownScalingOfRotaryPositionsIsRefused) {
  ChangedCheckpoint changed(kTextOnly);
  changed.config["rope_parameters"]["rope_type"] = "spiral";
  EXPECT_THAT(Refusal(changed), AllOf(HasSubstr("rope_type"), HasSubstr("spiral")));
}

TEST(Qwen35Moe, AQuantizedGateIsRefusedWithTheReason) {
  ChangedCheckpoint changed(kSource / "models/reference-fp8");
  const std::string gate = "model.language_model.layers.1.mlp.gate.weight";
  changed.Find(gate).dtype = Dtype::kF8E4M3;
  changed.Find(gate).bytes.resize(32 * 256);
  changed.tensors.push_back({gate + "_scale_inv", Dtype::kBF16, {1, 2}, std::vector<std::byte>(4)});
  EXPECT_THAT(Refusal(changed), AllOf(HasSubstr("layers.1.mlp.gate"), HasSubstr("fp8-block"),
                                      HasSubstr("cannot be rewritten alone")));
}

TEST(Qwen35Moe, APlainGateWithAScaleBesideItIsRefused) {
  ChangedCheckpoint changed(kSource / "models/reference-fp8");
  const std::string gate = "model.language_model.layers.1.mlp.gate.weight";
  changed.tensors.push_back({gate + "_scale_inv", Dtype::kBF16, {1, 2}, std::vector<std::byte>(4)});
  EXPECT_THAT(Refusal(changed), HasSubstr("layers.1.mlp.gate"));
}

TEST(Qwen35Moe, AQuantizedMtpGateIsRefusedToo) {
  ChangedCheckpoint changed(kSource / "models/reference-fp8");
  const std::string gate = "mtp.layers.0.mlp.gate.weight";
  changed.Find(gate).dtype = Dtype::kF8E4M3;
  changed.Find(gate).bytes.resize(32 * 256);
  changed.tensors.push_back({gate + "_scale_inv", Dtype::kBF16, {1, 2}, std::vector<std::byte>(4)});
  EXPECT_THAT(Refusal(changed), HasSubstr("mtp.layers.0.mlp.gate"));
}

TEST(Families, AnUnknownModelTypeIsRefusedWithTheOnesThatAreKnown) {
  ChangedCheckpoint changed(kTextOnly);
  changed.config["model_type"] = "bert";
  EXPECT_THAT(Refusal(changed), AllOf(HasSubstr("'bert'"), HasSubstr("qwen3_5_moe")));
}

// Headers only: the data of a skeleton is a hole in the file.
TEST(Qwen35Moe, DescribesA122BSkeletonFromItsHeaders) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / fmt::format("cacheready-skeleton-{}", getpid());
  std::filesystem::remove_all(folder);
  WriteSkeleton(Qwen35MoeFp8Config("122B-A10B"), {}, folder);
  const Checkpoint checkpoint = Checkpoint::Open(folder);
  const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  EXPECT_EQ(model->info().moe_layers.size(), 48u);
  EXPECT_EQ(model->info().experts, 256);
  EXPECT_EQ(model->info().top_k, 8);
  EXPECT_EQ(model->info().mtp_routers.size(), 1u);
  EXPECT_EQ(model->info().vocab, 248320);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace cacheready
