// SPDX-License-Identifier: Apache-2.0
#include "planning/canonical_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "base/hash.h"
#include "planning/synthetic_layer.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

using ::testing::ElementsAre;

template <typename T>
std::vector<std::byte> Bytes(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

RouterRecord ThreeRows() {
  RouterRecord router;
  router.weight_tensor = "w";
  router.weight_dtype = Dtype::kF32;
  router.weight = Bytes<float>({1, 10, 3, 30, 5, 80});  // [3, 2]
  router.selection_bias_tensor = "b";
  router.selection_bias = Bytes<float>({0.5f, 0.25f, 1.0f});
  router.spec["experts"] = 3;
  return router;
}

TEST(CanonicalRows, AreTheMeansAndEachMembersOwn) {
  const std::vector<std::int32_t> members{0, 2};
  const std::vector<double> usage{3, 1};
  const auto rows = CandidateRows(ThreeRows(), members, usage);
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0].rule, "mean");
  EXPECT_THAT(rows[0].weight_values, ElementsAre(3, 45));
  EXPECT_EQ(rows[0].selection_bias_value, 0.75f);
  EXPECT_EQ(rows[1].rule, "usage-weighted mean");
  EXPECT_THAT(rows[1].weight_values, ElementsAre(2, 27.5f));
  EXPECT_EQ(rows[1].selection_bias_value, 0.625f);
  EXPECT_EQ(rows[2].rule, "row of expert 0");
  EXPECT_THAT(rows[2].weight_values, ElementsAre(1, 10));
  EXPECT_EQ(rows[3].rule, "row of expert 2");
  EXPECT_EQ(rows[3].selection_bias_value, 1.0f);
}

TEST(CanonicalRows, EqualRowsAreTriedOnce) {
  RouterRecord router = ThreeRows();
  router.weight = Bytes<float>({1, 10, 1, 10, 5, 80});
  router.selection_bias = Bytes<float>({0.5f, 0.5f, 1.0f});
  const std::vector<std::int32_t> members{0, 1};
  EXPECT_EQ(CandidateRows(router, members, std::vector<double>{1, 7}).size(), 1u);
}

TEST(CanonicalRows, AreRoundedToTheStoredDtypeBeforeTheyAreJudged) {
  RouterRecord router;
  router.weight_tensor = "w";
  router.weight = Bytes<std::uint16_t>({FloatToBf16(1.0f), FloatToBf16(1.0078125f)});  // one ulp
  router.spec["experts"] = 2;
  const std::vector<std::int32_t> members{0, 1};
  const auto rows = CandidateRows(router, members, std::vector<double>{0, 0});
  // The mean lies half way between two bf16 numbers and goes to the even one, which is row 0.
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_THAT(rows[0].weight_values, ElementsAre(1.0f));
  EXPECT_EQ(rows[1].rule, "row of expert 1");
}

TEST(CanonicalRows, OfAnotherDtypeAreRefused) {
  RouterRecord router = ThreeRows();
  router.weight_dtype = Dtype::kF64;
  router.weight = Bytes<double>({1, 2, 3});
  EXPECT_THROW(CandidateRows(router, std::vector<std::int32_t>{0, 1}, std::vector<double>{1, 1}),
               Error);
}

TEST(CanonicalRows, PlanNamesTheHashOfEveryReplacedRow) {
  const RouterRecord router = ThreeRows();
  const std::vector<std::int32_t> members{0, 2};
  const auto rows = CandidateRows(router, members, std::vector<double>{1, 1});
  const auto tensors = PlannedTensors(router, members, rows[0]);
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(tensors[0].tensor, "w");
  EXPECT_EQ(tensors[0].row, Bytes<float>({3, 45}));
  EXPECT_THAT(tensors[0].replaced_sha256,
              ElementsAre(Sha256Hex(Bytes<float>({1, 10})), Sha256Hex(Bytes<float>({5, 80}))));
  EXPECT_EQ(tensors[1].tensor, "b");
  EXPECT_EQ(tensors[1].row, Bytes<float>({0.75f}));
}

TEST(CanonicalRows, AMembersOwnRowHasItsStoredLogitsBitForBit) {
  SyntheticOptions options;
  options.spec.logit_bias.assign(16, 0.5f);
  const SyntheticLayer layer(options);
  const std::vector<std::int32_t> members{4, 11};
  const auto rows = CandidateRows(layer.record().router, members, std::vector<double>{1, 1});
  ASSERT_EQ(rows.back().rule, "row of expert 11");
  const Matrix logits = CandidateLogits(layer.record().x, rows);
  for (std::int64_t t = 0; t < layer.tokens(); ++t) {
    ASSERT_EQ(logits.at(t, logits.cols() - 1), layer.record().logits.at(t, 11)) << "token " << t;
  }
}

}  // namespace
}  // namespace cacheready
