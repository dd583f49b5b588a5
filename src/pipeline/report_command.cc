// SPDX-License-Identifier: Apache-2.0
#include "pipeline/report_command.h"

#include "base/error.h"
#include "cacheready/cacheready.h"
#include "io/publish.h"

namespace cacheready {

ReportInputs ReadRunFolder(const RunFolder& run) {
  ReportInputs inputs;
  inputs.plan = ReadJsonFileIfThere(run.plan());
  inputs.check = ReadJsonFileIfThere(run.check());
  inputs.verification = ReadJsonFileIfThere(run.verification());
  inputs.evaluation = ReadJsonFileIfThere(run.evaluation());
  inputs.stability = ReadJsonFileIfThere(run.stability());
  inputs.scan = ReadJsonFileIfThere(run.scan() / "scan.json");
  inputs.run = ReadJsonFileIfThere(run.run());
  if (inputs.plan.is_null() && inputs.scan.is_null()) {
    Fail("{}: holds neither plan.json nor scan/scan.json; expected the folder of a run",
         run.folder.string());
  }
  return inputs;
}

Outcome Report(const ReportRequest& request) {
  const RunFolder run{request.run};
  const ReportInputs inputs = ReadRunFolder(run);
  const std::string markdown = MarkdownReport(inputs);
  const std::string json = WriteJson(SummaryReport(inputs));
  if (!request.dry_run) {
    const RunFolder out{request.out.empty() ? request.run : request.out};
    MakeFolders(out.folder);
    PublishFile(out.report(), markdown);
    PublishFile(out.summary(), json);
  }
  return {.json = json, .summary = markdown};
}

}  // namespace cacheready
