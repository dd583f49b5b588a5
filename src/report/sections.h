// The sections of the Markdown report, in its order. Each returns whole Markdown with its heading
// and a blank line at the end.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "report/findings.h"

namespace cacheready {

// found_sections.cc: what the scan and the plan say.
std::string LayerSection(const Findings& findings);
std::string GroupSection(const Findings& findings);
std::string UntiedSection(const Findings& findings);
std::string ControlSection(const Findings& findings);

// effect_sections.cc: what was measured and proven about the result.
std::string CheckSection(const Findings& findings);
std::string QualitySection(const Findings& findings);
std::string RoutingSection(const Findings& findings);
std::string ProofSection(const Findings& findings);

// closing_sections.cc: how far all this reaches.
std::string MeaningSection();
std::string ReproductionSection(const Findings& findings);
std::string LimitSection(const Findings& findings);

}  // namespace cacheready
