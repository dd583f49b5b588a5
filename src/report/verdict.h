// The five lines on top of the report.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "report/findings.h"

namespace cacheready {

// What the plan says in one word, for programs and for the first line.
enum class ReportOutcome {
  kNotPlanned,         // no plan to report on
  kUnknown,            // no expert had enough evidence to be judged
  kNothingEquivalent,  // judged, and no two experts are interchangeable
  kEquivalentNotTied,  // interchangeable experts, all over the budget
  kGroups,             // rows to tie
};
ReportOutcome OutcomeOf(const ReportFindings& findings);
std::string_view OutcomeName(ReportOutcome outcome);  // "nothing equivalent", ...

// Markdown, one line each: found, written, proven, cost, gain. Always five.
std::vector<std::string> VerdictLines(const ReportFindings& findings);

}  // namespace cacheready
