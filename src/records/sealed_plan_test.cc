// SPDX-License-Identifier: Apache-2.0
#include "records/sealed_plan.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "base/error.h"
#include "base/hash.h"

namespace cacheready {
namespace {

const std::string kPlan = "{\n  \"schema\": \"cacheready.plan/1\",\n  \"tolerance\": 1.0\n}\n";

TEST(SealedPlan, HashesTheTextWithoutTheSeal) {
  const Json sealed = ParseJson(SealPlan(kPlan), "sealed");
  EXPECT_EQ(sealed.at("sha256"), Sha256Hex(kPlan));
  EXPECT_EQ(sealed.size(), 3u);
}

TEST(SealedPlan, GivesThePlanBackWithoutTheSeal) {
  EXPECT_EQ(WriteJson(CheckSealedPlan(SealPlan(kPlan), "plan")), kPlan);
}

TEST(SealedPlan, IsTheSameWhenSealedTwice) {
  EXPECT_EQ(SealPlan(SealPlan(kPlan)), SealPlan(kPlan));
}

TEST(SealedPlan, FindsEverySingleFlippedBit) {
  const std::string sealed = SealPlan(kPlan);
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = sealed;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << bit));
      EXPECT_THROW(CheckSealedPlan(flipped, "plan"), Error) << "byte " << i << " bit " << bit;
    }
  }
}

TEST(SealedPlan, RefusesAPlanWithoutASeal) {
  EXPECT_THROW(CheckSealedPlan(kPlan, "plan"), Error);
  EXPECT_THROW(SealPlan("[1]"), Error);
}

}  // namespace
}  // namespace cacheready
