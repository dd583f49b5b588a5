// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "cli/commands.h"

namespace cacheready {

void AddVerify(CLI::App& app, Invocation& invocation) {
  auto request = std::make_shared<VerifyRequest>();
  auto hash = std::make_shared<std::string>("sha256");
  auto* command = app.add_subcommand(
      "verify", "Prove from the bytes that OUT is SRC with the planned rows and nothing else");
  command->add_option("SRC", request->source, kSourceHelp)->required();
  command->add_option("OUT", request->out, "folder that `apply` wrote")->required();
  command->add_option("--plan", request->plan, "plan.json (default: the one inside OUT)");
  command->add_option("--hash", *hash, "sha256 of every file, or none")
      ->check(CLI::IsMember({"sha256", "none"}));
  command->callback([&invocation, request, hash] {
    request->hash = *hash == "sha256";
    invocation.run = [request] { return Verify(*request); };
  });
}

}  // namespace cacheready
