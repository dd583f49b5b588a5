// SPDX-License-Identifier: Apache-2.0
#include "model/config_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"

namespace cacheready {
namespace {

using ::testing::HasSubstr;

const ConfigReader Reader(const Json& json) { return ConfigReader(json, "config.json"); }

TEST(ConfigReader, SizesAreFoundUnderAnyOfTheirNames) {
  const Json json = {{"num_local_experts", 8}};
  EXPECT_EQ(Reader(json).Size({"num_experts", "num_local_experts"}), 8);
  EXPECT_THAT(ErrorOf([&] {
                Reader(json).Size({"n_routed_experts", "experts"});
              }),
              HasSubstr("'n_routed_experts', 'experts'"));
}

TEST(ConfigReader, SizesBelowOneAreRefused) {
  const Json json = {{"hidden_size", 0}, {"heads", -4}};
  EXPECT_THROW(Reader(json).Size("hidden_size"), Error);
  EXPECT_THROW(Reader(json).Size("heads", 4), Error);
  EXPECT_EQ(Reader(json).Size("absent", 4), 4);
}

TEST(ConfigReader, SizesThatNoMemoryHoldsAreRefused) {
  const Json json = {{"hidden_size", 1LL << 40}, {"num_hidden_layers", 100000}};
  EXPECT_THAT(ErrorOf([&] { Reader(json).Size("hidden_size"); }), HasSubstr("'hidden_size'"));
  EXPECT_THAT(ErrorOf([&] { Reader(json).Count("hidden_size", 0); }), HasSubstr("at most"));
  EXPECT_THAT(ErrorOf([&] { ReadNumLayers(Reader(json)); }), HasSubstr("'num_hidden_layers'"));
}

TEST(ConfigReader, OtherMathematicsIsRefusedByKeyAndValue) {
  const Json json = {{"hidden_act", "gelu"},
                     {"attention_bias", true},
                     {"decoder_sparse_step", 2},
                     {"mlp_only_layers", {1, 2}}};
  const ConfigReader config = Reader(json);
  EXPECT_THAT(ErrorOf([&] { config.RequireText("hidden_act", "silu"); }),
              HasSubstr("config.json: key 'hidden_act' is \"gelu\", and only \"silu\""));
  EXPECT_THAT(ErrorOf([&] { config.RequireFlag("attention_bias", false); }),
              HasSubstr("'attention_bias' is true"));
  EXPECT_THAT(ErrorOf([&] { config.RequireInteger("decoder_sparse_step", 1); }),
              HasSubstr("'decoder_sparse_step' is 2"));
  EXPECT_THAT(ErrorOf([&] { config.RequireEmpty("mlp_only_layers"); }),
              HasSubstr("'mlp_only_layers' is [1,2]"));
}

TEST(ConfigReader, AbsentNullAndEqualValuesAreAccepted) {
  const Json json = {{"hidden_act", "silu"}, {"attention_bias", nullptr}, {"list", Json::array()}};
  const ConfigReader config = Reader(json);
  config.RequireText("hidden_act", "silu");
  config.RequireFlag("attention_bias", false);
  config.RequireInteger("absent", 1);
  config.RequireEmpty("list");
  config.RequireAbsent("attention_bias");
  config.RequireNumber("absent", 7.0);
}

TEST(ConfigReader, NumbersAndPresenceAreRequiredByKey) {
  const Json json = {{"limit", 7.5}, {"window", 0}};
  const ConfigReader config = Reader(json);
  EXPECT_NO_THROW(config.RequireNumber("limit", 7.5));
  EXPECT_THAT(ErrorOf([&] { config.RequireNumber("limit", 7); }),
              HasSubstr("key 'limit' is 7.5, and only 7 is implemented"));
  EXPECT_THAT(ErrorOf([&] { config.RequireAbsent("window"); }),
              HasSubstr("key 'window' is 0, and only null is implemented"));
}

TEST(ConfigReader, CountsMayBeZero) {
  const Json json = {{"dense", 0}, {"negative", -1}};
  EXPECT_EQ(Reader(json).Count("dense", 3), 0);
  EXPECT_EQ(Reader(json).Count("absent", 3), 3);
  EXPECT_THROW(Reader(json).Count("negative", 3), Error);
}

TEST(ConfigReader, LayerTypesMustBeKnownAndCoverAllLayers) {
  const auto fallback = [](const ConfigReader&, std::int64_t layer) {
    return std::string(layer % 2 == 0 ? "a" : "b");
  };
  const Json none = Json::object();
  EXPECT_THAT(LayerTypes(Reader(none), 3, {"a", "b"}, fallback),
              ::testing::ElementsAre("a", "b", "a"));
  const Json given = {{"layer_types", {"b", "b"}}};
  EXPECT_THAT(LayerTypes(Reader(given), 2, {"a", "b"}, fallback), ::testing::ElementsAre("b", "b"));
  EXPECT_THROW(LayerTypes(Reader(given), 3, {"a", "b"}, fallback), Error);
  EXPECT_THAT(ErrorOf([&] { LayerTypes(Reader(given), 2, {"a"}, fallback); }),
              HasSubstr("holds 'b'"));
}

}  // namespace
}  // namespace cacheready
