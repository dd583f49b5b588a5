// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "cli/commands.h"

namespace cacheready {

void AddForward(CLI::App& app, Invocation& invocation) {
  auto request = std::make_shared<ForwardRequest>();
  auto* command = app.add_subcommand(
      "forward", "Run token ids through the model and keep hidden states, router outputs, logits");
  command->add_option("SRC", request->source, kSourceHelp)->required();
  command->add_option("--ids", request->ids, "JSON, .npy, or safetensors with 'input_ids'")
      ->required();
  command->add_option("-o,--output", request->out, "safetensors file to write")->required();
  command->add_option("--profile", request->profile, "arithmetic (default: fp32)");
  command->add_option("--numerics", request->numerics, kNumericsHelp);
  command->add_flag("--dry-run", request->dry_run, kDryRunHelp);
  command->callback(
      [&invocation, request] { invocation.run = [request] { return Forward(*request); }; });
}

}  // namespace cacheready
