// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "cli/commands.h"

namespace cacheready {

void AddPlan(CLI::App& app, Invocation& invocation) {
  auto request = std::make_shared<PlanRequest>();
  auto* command =
      app.add_subcommand("plan", "From a finished scan, decide which router rows to make equal");
  command->add_option("SCAN", request->scan, "folder that `scan` wrote")->required();
  command->add_option("-o,--output", request->out, "plan.json")->required();
  command->add_option("--tolerance", request->tolerance,
                      "largest distance, in units of what two renditions of one expert differ by");
  command->add_option("--budget", request->budget,
                      "share of each layer's profile change that tying may use");
  command->add_option("--max-group", request->max_group, "members of a group (0: the router's k)");
  command->add_option("--seed", request->seed, "of document halves, intervals and controls");
  command
      ->add_option("--method", request->method,
                   "'outputs', or 'router-correlation': a control that plans nothing")
      ->check(CLI::IsMember({"outputs", "router-correlation"}));
  command->add_option("--mtp", request->mtp, "routers of multi-token-prediction blocks")
      ->check(CLI::IsMember({"leave", "patch"}));
  command->add_flag("--dry-run", request->dry_run, "print the plan, write nothing");
  command->callback(
      [&invocation, request] { invocation.run = [request] { return MakePlan(*request); }; });
}

}  // namespace cacheready
