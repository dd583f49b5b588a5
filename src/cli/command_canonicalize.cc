// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "cli/commands.h"

namespace cacheready {
namespace {

void AddTextOptions(CLI::App* command, CanonicalizeRequest& request) {
  command->add_option("-c,--calibration", request.calibration, kTextHelp)->required();
  command->add_option("--evaluation", request.evaluation,
                      "unseen text for check and eval, likewise (default: a quarter of the "
                      "calibration documents, held out)");
  command->add_option("--tokens", request.tokens, "calibration tokens")->check(CLI::PositiveNumber);
  command->add_option("--document-tokens", request.document_tokens, "longer documents are cut")
      ->check(CLI::PositiveNumber);
  command->add_option("--check-tokens", request.check_tokens, "tokens of the end-to-end check")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--eval-tokens", request.evaluation_tokens,
                   "tokens of the quality measurement (0: left out)")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--seed", request.seed, "of every choice made");
}

void AddDecisionOptions(CLI::App* command, CanonicalizeRequest& request) {
  command->add_option("--profile", request.profile, kProfileHelp);
  command->add_option("--numerics", request.numerics, kNumericsHelp);
  command->add_option("--tolerance", request.tolerance,
                      "largest distance, in units of what two renditions of one expert differ by");
  command->add_option("--budget", request.budget,
                      "share of each layer's profile change that tying may use");
  command->add_option("--max-group", request.max_group, "members of a group (0: the router's k)");
  command
      ->add_option("--margin", request.margin,
                   "nats per token below which two models count as equivalent")
      ->check(CLI::PositiveNumber);
}

}  // namespace

void AddCanonicalize(CLI::App& app, Invocation& invocation) {
  auto request = std::make_shared<CanonicalizeRequest>();
  auto* command = app.add_subcommand(
      "canonicalize", "The main job: scan, plan, check, apply, verify, eval and report in one go");
  command->add_option("SRC", request->source, kSourceHelp)->required();
  command
      ->add_option("-o,--output", request->out,
                   "folder of the new checkpoint; not made if nothing is to be tied")
      ->required();
  AddTextOptions(command, *request);
  AddDecisionOptions(command, *request);
  command->add_option("--run", request->run,
                      "folder of everything measured, and of the report (default: OUT.run)");
  command
      ->add_option(
          "--memory", request->memory_bytes,
          "bytes for expert outputs held at once, 1GiB ... (default: a share of --max-memory)")
      ->transform(CLI::AsSizeValue(true));
  command
      ->add_option("--link", request->link,
                   "how unpatched files get to OUT: auto (reflink, else copy), reflink, "
                   "hardlink, copy")
      ->check(CLI::IsMember({"auto", "reflink", "hardlink", "copy"}));
  command->add_flag("--force", request->force, "replace an OUT that exists");
  command->add_flag("--fresh", request->fresh, "discard what another scan left in the run folder");
  command->add_flag("--dry-run", request->dry_run, kDryRunHelp);
  command->callback([&invocation, request] {
    request->command = invocation.command;
    invocation.run = [request] { return Canonicalize(*request); };
  });
}

}  // namespace cacheready
