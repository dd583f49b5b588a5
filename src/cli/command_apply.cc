// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "cli/commands.h"

namespace cacheready {

void AddApply(CLI::App& app, Invocation& invocation) {
  auto request = std::make_shared<ApplyRequest>();
  auto* command = app.add_subcommand(
      "apply", "Write the checkpoint with the planned rows, or a delta; SRC is never written to");
  command->add_option("SRC", request->source, kSourceHelp)->required();
  command->add_option("PLAN", request->change, "plan.json or x.delta.safetensors")->required();
  command->add_option("-o,--output", request->out, "folder to make (with --delta: file)")
      ->required();
  command
      ->add_option("--link", request->link,
                   "how unpatched files get to OUT: auto (reflink, else copy), reflink, "
                   "hardlink, copy")
      ->check(CLI::IsMember({"auto", "reflink", "hardlink", "copy"}));
  auto* revert = command->add_flag("--revert", request->revert, "undo a delta");
  command->add_flag("--delta", request->delta, "write old and new rows as a small file")
      ->excludes(revert);
  command->add_flag("--force", request->force, "replace an OUT that exists");
  command->add_flag("--outside-index", request->include_outside_index,
                    "carry weight files along that no index names, unpatched");
  command->add_flag("--dry-run", request->dry_run, kDryRunHelp);
  command->callback(
      [&invocation, request] { invocation.run = [request] { return Apply(*request); }; });
}

}  // namespace cacheready
