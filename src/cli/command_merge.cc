// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "cli/commands.h"

namespace cacheready {

void AddMerge(CLI::App& app, Invocation& invocation) {
  auto request = std::make_shared<MergeRequest>();
  auto* command =
      app.add_subcommand("merge", "Make one scan of all parts that `scan --part` wrote");
  command->add_option("PART", request->parts, "folders of the parts, in any order")->required();
  command->add_option("-o,--output", request->out, "folder of the scan")->required();
  command->add_flag("--fresh", request->fresh, "discard what another scan left in the folder");
  command->add_flag("--dry-run", request->dry_run, kDryRunHelp);
  command->callback(
      [&invocation, request] { invocation.run = [request] { return Merge(*request); }; });
}

}  // namespace cacheready
