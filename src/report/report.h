// The report: what a reader needs to decide, made only from the JSON of the other stages. Same
// JSON, same bytes: no time, host or path of its own. docs/report.md lists what is read.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/json.h"

namespace cacheready {

// Each may be null: its section then says "not measured".
struct ReportInputs {
  Json plan;          // plan.json
  Json check;         // check.json
  Json verification;  // verification.json
  Json evaluation;    // eval.json
  Json stability;     // stability.json
  Json scan;          // scan.json, the header of the scan
  Json run;           // run.json: command, seed, source, output
};

// Markdown with the verdict in its first five lines. Fails, naming stage and key, on a value of a
// wrong type.
std::string MarkdownReport(const ReportInputs& inputs);

// The same findings as numbers ("schema": "cacheready.report/1"); what was not measured is null.
Json SummaryReport(const ReportInputs& inputs);

}  // namespace cacheready
