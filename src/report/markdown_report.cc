// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "report/report.h"
#include "report/sections.h"
#include "report/verdict.h"

namespace cacheready {

std::string MarkdownReport(const ReportInputs& inputs) {
  const ReportFindings findings = ReadFindings(inputs);
  std::string text;
  // The verdict comes before any title: the first five lines decide.
  int number = 0;
  for (const std::string& line : VerdictLines(findings)) {
    text += std::to_string(++number) + ". " + line + '\n';
  }
  text += "\n# Expert equivalence report\n\n";
  text += LayerSection(findings);
  text += GroupSection(findings);
  text += UntiedSection(findings);
  text += ControlSection(findings);
  text += CheckSection(findings);
  text += QualitySection(findings);
  text += RoutingSection(findings);
  text += ProofSection(findings);
  text += MeaningSection();
  text += ReproductionSection(findings);
  text += LimitSection(findings);
  text.pop_back();  // one newline at the end
  return text;
}

}  // namespace cacheready
