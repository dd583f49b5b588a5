// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/checkpoint.h"

#include <gtest/gtest.h>

namespace cacheready {
namespace {
TEST(Checkpoint, OpensTheReferenceModel) {
  const Checkpoint c =
      Checkpoint::Open(std::string(CACHEREADY_SOURCE_DIR) + "/models/reference-fp8");
  EXPECT_GT(c.num_tensors(), 100u);
  EXPECT_EQ(c.shards().size(), 4u);
  for (const auto& w : c.warnings()) ADD_FAILURE() << w;
}
}  // namespace
}  // namespace cacheready
