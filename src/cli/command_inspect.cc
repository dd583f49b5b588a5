// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "cli/commands.h"

namespace cacheready {

void AddInspect(CLI::App& app, Invocation& invocation) {
  auto request = std::make_shared<InspectRequest>();
  auto* command = app.add_subcommand(
      "inspect", "What a checkpoint is and what could be patched, from its headers alone");
  command->add_option("SRC", request->source, kSourceHelp)->required();
  command->callback(
      [&invocation, request] { invocation.run = [request] { return Inspect(*request); }; });
}

}  // namespace cacheready
