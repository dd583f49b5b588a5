// SPDX-License-Identifier: Apache-2.0
#include "report/report.h"

#include "base/error.h"
#include "fuzz/scratch_folder.h"
#include "fuzz/targets.h"

namespace cacheready {

void FuzzReport(std::span<const std::uint8_t> input) {
  try {
    const Json all = ParseJson(AsText(input), "run");
    const auto part = [&](const char* name) {
      const Json* found = FindMember(all, name);
      return found == nullptr ? Json() : *found;
    };
    const ReportInputs inputs = {.plan = part("plan"),
                                 .check = part("check"),
                                 .verification = part("verification"),
                                 .evaluation = part("evaluation"),
                                 .stability = part("stability"),
                                 .scan = part("scan"),
                                 .run = part("run")};
    MarkdownReport(inputs);
    WriteJson(SummaryReport(inputs));
  } catch (const Error&) {
  }
}

}  // namespace cacheready
