// The report as a stage of the main job.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/files.h"
#include "report/report.h"

namespace cacheready {

// Every stage's JSON that the folder holds. Fails if there is none.
ReportInputs ReadRunFolder(const RunFolder& run);

}  // namespace cacheready
