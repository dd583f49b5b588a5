// SPDX-License-Identifier: Apache-2.0
#include "formats/name_patterns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace cacheready {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// Which of the names are listed.
std::vector<std::string> Listed(const NamePatterns& patterns,
                                const std::vector<std::string>& names) {
  std::vector<std::string> listed;
  for (const std::string& name : names) {
    if (patterns.Find(name) != nullptr) listed.push_back(name);
  }
  return listed;
}

using Names = std::vector<std::string>;

TEST(NamePatterns, ANameIsThatModuleOnly) {
  NamePatterns patterns;
  EXPECT_TRUE(patterns.empty());
  patterns.AddName("model.layers.1.mlp.gate");
  EXPECT_FALSE(patterns.empty());
  EXPECT_EQ(Listed(patterns, {"model.layers.1.mlp.gate", "model.layers.1.mlp.gate_proj",
                              "model.layers.1.mlp.gate.weight", "model.layers.11.mlp.gate"}),
            Names{"model.layers.1.mlp.gate"});
}

TEST(NamePatterns, ATreeHoldsAllBelowIt) {
  NamePatterns patterns;
  patterns.AddTree("model.layers.1.mlp");
  EXPECT_EQ(Listed(patterns, {"model.layers.1.mlp", "model.layers.1.mlp.experts.0.up_proj",
                              "model.layers.1.mlp_norm", "model.layers.10.mlp", "mlp"}),
            (Names{"model.layers.1.mlp", "model.layers.1.mlp.experts.0.up_proj"}));
}

TEST(NamePatterns, AnEndingIsWholeParts) {
  NamePatterns patterns;
  patterns.AddEnding("gate");
  patterns.AddEnding("mlp.shared");
  EXPECT_EQ(Listed(patterns, {"model.layers.1.mlp.gate", "gate", "model.shared_expert_gate",
                              "model.mlp.gate.up", "a.mlp.shared", "a.other.shared"}),
            (Names{"model.layers.1.mlp.gate", "gate", "a.mlp.shared"}));
}

TEST(NamePatterns, ATextIsAnywhere) {
  NamePatterns patterns;
  patterns.AddText("");
  patterns.AddText("lp.ga");
  EXPECT_EQ(Listed(patterns, {"model.mlp.gate_proj", "model.mlp.up_proj"}),
            Names{"model.mlp.gate_proj"});
}

TEST(NamePatterns, AGlobIsAWholeNameOrOneAboveIt) {
  NamePatterns patterns;
  patterns.AddGlob("model.layers.*.self_attn");
  patterns.AddGlob("*shared_expert*");
  patterns.AddGlob("mtp*");
  patterns.AddGlob("head.[!0]?");
  EXPECT_EQ(Listed(patterns,
                   {"model.layers.3.self_attn", "model.layers.3.self_attn.q_proj",
                    "model.layers.3.self_attn2", "x.shared_expert_gate", "mtp.layers.0.mlp.gate",
                    "model.mtp", "head.1a", "head.0a", "head.12b", "modelxlayers.3.self_attn"}),
            (Names{"model.layers.3.self_attn", "model.layers.3.self_attn.q_proj",
                   "x.shared_expert_gate", "mtp.layers.0.mlp.gate", "head.1a"}));
}

TEST(NamePatterns, ARegexMatchesFromTheStart) {
  NamePatterns patterns;
  patterns.AddRegex(R"(.*mlp\.gate$)", "a test");
  patterns.AddRegex("lm_head", "a test");
  EXPECT_EQ(Listed(patterns, {"model.layers.0.mlp.gate", "model.layers.0.mlp.gate_proj",
                              "lm_head.sub", "model.lm_head"}),
            (Names{"model.layers.0.mlp.gate", "lm_head.sub"}));
}

TEST(NamePatterns, FindsTheEntryAsItWasWritten) {
  NamePatterns patterns;
  patterns.AddGlob("*.experts.*");
  patterns.AddTree("model.language_model.layers.0");
  EXPECT_EQ(*patterns.Find("model.layers.3.experts.1"), "*.experts.*");
  EXPECT_EQ(*patterns.Find("model.layers.0.mlp"), "model.language_model.layers.0");
}

TEST(NamePatterns, ThePrefixOfALanguageModelDoesNotMatter) {
  for (const std::string prefix : {"model.", "model.language_model.", "language_model.model."}) {
    NamePatterns patterns;
    patterns.AddName(prefix + "layers.0.mlp.gate");
    patterns.AddRegex(R"(model\.layers\.7\..*)", "a test");
    EXPECT_EQ(
        Listed(patterns, {"model.layers.0.mlp.gate", "model.language_model.layers.0.mlp.gate",
                          "language_model.model.layers.0.mlp.gate", "mtp.layers.0.mlp.gate",
                          "model.language_model.layers.7.mlp"}),
        (Names{"model.layers.0.mlp.gate", "model.language_model.layers.0.mlp.gate",
               "language_model.model.layers.0.mlp.gate", "model.language_model.layers.7.mlp"}));
  }
}

TEST(NamePatterns, RefusesWhatIsNoExpression) {
  NamePatterns patterns;
  EXPECT_THAT([&] { patterns.AddRegex("layers.(", "config.json, ignore"); },
              ThrowsMessage<Error>(AllOf(HasSubstr("config.json, ignore"), HasSubstr("layers.("))));
}

TEST(NamePatterns, RefusesAnExpressionThatTakesTooLong) {
  NamePatterns patterns;
  patterns.AddRegex("(a+)+$", "a test");
  EXPECT_THAT([&] { patterns.Find(std::string(64, 'a') + "c"); },
              ThrowsMessage<Error>(HasSubstr("(a+)+$")));
}

}  // namespace
}  // namespace cacheready
