// The part of the findings that comes from running or comparing checkpoints.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "report/findings.h"

namespace cacheready {

std::optional<ReportedCheck> ReadCheck(const Json& check);
std::optional<ReportedProof> ReadProof(const Json& verification);
void ReadEvaluation(const Json& evaluation, ReportFindings* findings);
void ReadStability(const Json& stability, ReportFindings* findings);

}  // namespace cacheready
