// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "cli/commands.h"

namespace cacheready {

void AddScan(CLI::App& app, Invocation& invocation) {
  auto request = std::make_shared<ScanRequest>();
  auto* command = app.add_subcommand(
      "scan", "Run the experts layer by layer and record how far apart their outputs are");
  command->add_option("SRC", request->source, kSourceHelp)->required();
  command->add_option("-c,--calibration", request->calibration, kTextHelp)->required();
  command->add_option("-o,--output", request->out, "folder of the scan")->required();
  command->add_option("--profile", request->profile, kProfileHelp);
  command->add_option("--numerics", request->numerics, kNumericsHelp);
  command->add_option("--tokens", request->tokens, "calibration tokens")
      ->check(CLI::PositiveNumber);
  command->add_option("--document-tokens", request->document_tokens, "longer documents are cut")
      ->check(CLI::PositiveNumber);
  command->add_option("--seed", request->seed, "of every choice made");
  command->add_option("--tolerance", request->tolerance,
                      "as the plan will use it: decides how near a pair must be to be measured");
  command
      ->add_option(
          "--memory", request->memory_bytes,
          "bytes for expert outputs held at once, 1GiB ... (default: a share of --max-memory)")
      ->transform(CLI::AsSizeValue(true));
  command->add_option("--part", request->part,
                      "I/N: the I-th of N parts of the documents, into OUTPUT/part-I-of-N; 'auto': "
                      "from the variables of Slurm, Open MPI or torchrun");
  command->add_flag("--fresh", request->fresh, "discard what another scan left in the folder");
  command->add_flag("--dry-run", request->dry_run, kDryRunHelp);
  command->callback(
      [&invocation, request] { invocation.run = [request] { return Scan(*request); }; });
}

}  // namespace cacheready
