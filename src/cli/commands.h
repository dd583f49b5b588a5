// The commands of the program: one file and one line of the table each.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <span>
#include <string>

#include "cacheready/cacheready.h"

namespace cacheready {

// What was chosen on the command line.
struct Invocation {
  std::function<Outcome()> run;
  std::string command;  // as typed, for reports
};

// Declares one subcommand; its callback sets invocation.run.
using CommandMaker = void (*)(CLI::App& app, Invocation& invocation);
std::span<const CommandMaker> Commands();

void AddInspect(CLI::App& app, Invocation& invocation);
void AddForward(CLI::App& app, Invocation& invocation);
void AddScan(CLI::App& app, Invocation& invocation);
void AddMerge(CLI::App& app, Invocation& invocation);
void AddPlan(CLI::App& app, Invocation& invocation);
void AddCheck(CLI::App& app, Invocation& invocation);
void AddApply(CLI::App& app, Invocation& invocation);
void AddVerify(CLI::App& app, Invocation& invocation);
void AddEvaluate(CLI::App& app, Invocation& invocation);
void AddReport(CLI::App& app, Invocation& invocation);
void AddCanonicalize(CLI::App& app, Invocation& invocation);
void AddDemo(CLI::App& app, Invocation& invocation);
void AddSynth(CLI::App& app, Invocation& invocation);

// What several commands ask for in the same words.
inline constexpr const char* kSourceHelp =
    "checkpoint: a folder, a snapshot of the Hugging Face cache, or org/name found there";
inline constexpr const char* kTextHelp =
    "JSON lines with 'text', 'messages' or 'ids', and an optional 'domain'";
inline constexpr const char* kProfileHelp =
    "how the model is served: fp8-w8a8, bf16-tp1, fp32 (default: by the checkpoint's own format)";
inline constexpr const char* kNumericsHelp =
    "arithmetic of products: fp32 (default), bf16 (this CPU's instruction), auto (the faster of "
    "the two), or a class by its name; plans of different classes are never mixed";
inline constexpr const char* kDryRunHelp = "say what would be done, write nothing";

}  // namespace cacheready
