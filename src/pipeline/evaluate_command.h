// Quality on held-out text as a stage of the main job.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cacheready/cacheready.h"
#include "measure/summary.h"
#include "pipeline/source.h"

namespace cacheready {

// The source in fp32 (base), the source under its profile, and, if it is not null, `out`.
Json EvaluateOnText(const Source& source, const Source* out, std::vector<Document> documents,
                    const EvaluateRequest& request);
std::string EvaluationText(const Json& evaluation);

}  // namespace cacheready
