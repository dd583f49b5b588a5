// The sections of the Markdown report, in its order. Each returns whole Markdown with its heading
// and a blank line at the end.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "report/findings.h"

namespace cacheready {

// found_sections.cc: what the scan and the plan say.
std::string LayerSection(const ReportFindings& findings);
std::string GroupSection(const ReportFindings& findings);
std::string UntiedSection(const ReportFindings& findings);
std::string ControlSection(const ReportFindings& findings);

// effect_sections.cc: what was measured and proven about the result.
std::string CheckSection(const ReportFindings& findings);
std::string QualitySection(const ReportFindings& findings);
std::string RoutingSection(const ReportFindings& findings);
std::string ProofSection(const ReportFindings& findings);

// closing_sections.cc: how far all this reaches.
std::string MeaningSection();
std::string ReproductionSection(const ReportFindings& findings);
std::string LimitSection(const ReportFindings& findings);

}  // namespace cacheready
