// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "cli/commands.h"

namespace cacheready {

void AddReport(CLI::App& app, Invocation& invocation) {
  auto request = std::make_shared<ReportRequest>();
  auto* command = app.add_subcommand(
      "report", "Make report.md and report.json from what the stages left in a run folder");
  command->add_option("RUN", request->run, "folder of a run (plan.json, check.json, ...)")
      ->required();
  command->add_option("-o,--output", request->out, "folder for the report (default: RUN)");
  command->add_flag("--dry-run", request->dry_run, "print the report, write nothing");
  command->callback(
      [&invocation, request] { invocation.run = [request] { return Report(*request); }; });
}

}  // namespace cacheready
