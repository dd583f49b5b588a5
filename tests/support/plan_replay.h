// What a plan forecasts for the routing of a layer: the planned rows replayed on the scan's record.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model/router.h"
#include "records/plan.h"
#include "records/scan_record.h"

namespace cacheready {

// The routing of the scanned tokens with every planned group of this layer tied.
Routing ReplayPlan(const LayerRecord& record, const Plan& plan);

}  // namespace cacheready
