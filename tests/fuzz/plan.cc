// SPDX-License-Identifier: Apache-2.0
#include "records/plan.h"

#include "base/error.h"
#include "fuzz/scratch_folder.h"
#include "fuzz/targets.h"
#include "records/sealed_plan.h"

namespace cacheready {

void FuzzPlan(std::span<const std::uint8_t> input) {
  const std::string_view text = AsText(input);
  try {
    const Plan plan = PlanFromJson(ParseJson(text, "plan.json"), "plan.json");
    const std::string written = WriteJson(ToJson(plan));
    const Plan again = PlanFromJson(ParseJson(written, "again"), "again");
    CR_CHECK(WriteJson(ToJson(again)) == written, "written again, the plan is another");
    CR_CHECK(RowPatches(again).size() == RowPatches(plan).size(), "number of rows changed");
    const std::string sealed = SealPlan(written);
    CR_CHECK(WriteJson(CheckSealedPlan(sealed, "sealed")) == written, "the seal changed the plan");
  } catch (const Error&) {
  }
  try {
    CheckSealedPlan(text, "plan.json");
  } catch (const Error&) {
  }
}

}  // namespace cacheready
