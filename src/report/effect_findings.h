// The part of the findings that comes from running or comparing checkpoints.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "report/findings.h"

namespace cacheready {

std::optional<CheckFindings> ReadCheck(const Json& check);
std::optional<ProofFindings> ReadProof(const Json& verification);
void ReadEvaluation(const Json& evaluation, Findings* findings);
void ReadStability(const Json& stability, Findings* findings);

}  // namespace cacheready
