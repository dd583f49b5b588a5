// A plan without some of its groups.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>

#include "records/plan.h"

namespace cacheready {

// Keeps plan.groups[n] for n in `kept`; the others are appended to `untied` with `reason` and their
// numbers, and the counts of tied groups and coverage of the layers follow. Forecasts and budgets
// stay those of the whole plan. All kept: the plan as it is.
Plan CutPlan(const Plan& plan, const std::set<std::size_t>& kept, const std::string& reason);

}  // namespace cacheready
