// The end-to-end check as a stage of the main job.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cacheready/cacheready.h"
#include "measure/check.h"
#include "pipeline/source.h"

namespace cacheready {

// The documents of a check: unscanned ones, cut and sampled as the request says. Fails if none is
// left.
std::vector<Document> ChooseCheckText(std::vector<Document> documents, const Plan& plan,
                                      const CheckRequest& request);
CheckResult CheckOnText(const Source& source, const Plan& plan,
                        const std::vector<Document>& documents, std::uint64_t seed);
std::string CheckText(const CheckResult& result);

}  // namespace cacheready
