// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "cli/commands.h"

namespace cacheready {

void AddEvaluate(CLI::App& app, Invocation& invocation) {
  auto request = std::make_shared<EvaluateRequest>();
  auto* command = app.add_subcommand(
      "eval", "Likelihood of text under SRC, and how far its profile and OUT are from it");
  command->add_option("SRC", request->source, kSourceHelp)->required();
  command->add_option("OUT", request->out, "a changed copy of SRC");
  command->add_option("-t,--text", request->text, kTextHelp)->required();
  command->add_option("--profile", request->profile,
                      std::string(kProfileHelp) + "; fp32 measures SRC and OUT alone");
  command->add_option("--numerics", request->numerics, kNumericsHelp);
  command->add_option("--max-tokens", request->max_tokens, "longer documents are cut")
      ->check(CLI::PositiveNumber);
  command->add_option("--tokens", request->tokens, "tokens in all, sampled by domain (0: all)")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--seed", request->seed, "of the sample and the intervals");
  command
      ->add_option("--margin", request->margin,
                   "nats per token below which two models count as equivalent")
      ->check(CLI::PositiveNumber);
  command->callback(
      [&invocation, request] { invocation.run = [request] { return Evaluate(*request); }; });
}

}  // namespace cacheready
