// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "cli/commands.h"

namespace cacheready {

void AddCheck(CLI::App& app, Invocation& invocation) {
  auto request = std::make_shared<CheckRequest>();
  auto* command = app.add_subcommand(
      "check",
      "Measure end to end what a plan does to the model, and cut it back if it is too much");
  command->add_option("SRC", request->source, kSourceHelp)->required();
  command->add_option("PLAN", request->plan, "plan.json")->required();
  command
      ->add_option("-t,--text", request->text,
                   std::string(kTextHelp) + "; documents that were scanned are left out")
      ->required();
  command->add_option("-o,--output", request->out, "the plan as it passed");
  command->add_option("--tokens", request->tokens, "tokens of text")->check(CLI::PositiveNumber);
  command
      ->add_option("--document-tokens", request->document_tokens,
                   "longer documents are cut (0: so that about 32 take part)")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--seed", request->seed, "of the sample and the intervals");
  command->add_flag("--dry-run", request->dry_run, "run the check, write nothing");
  command->callback(
      [&invocation, request] { invocation.run = [request] { return Check(*request); }; });
}

}  // namespace cacheready
