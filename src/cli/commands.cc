// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"

namespace cacheready {
namespace {

constexpr CommandMaker kCommands[] = {
    AddCanonicalize, AddInspect, AddForward,  AddScan,   AddMerge, AddPlan,  AddCheck,
    AddApply,        AddVerify,  AddEvaluate, AddReport, AddDemo,  AddSynth,
};

}  // namespace

std::span<const CommandMaker> Commands() { return kCommands; }

}  // namespace cacheready
