// The plan as a stage of the main job, and what people read of it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cacheready/cacheready.h"
#include "records/plan.h"

namespace cacheready {

Plan PlanScan(const PlanRequest& request);
// The groups, or that there are none and how far the closest pair is from equivalence; then the
// controls.
std::string PlanText(const Plan& plan);

}  // namespace cacheready
