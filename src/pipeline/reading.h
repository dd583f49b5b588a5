// How much memory a command may use and how it reads, as the user set it for the process.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "base/json.h"
#include "pipeline/text_table.h"
#include "stream/memory_plan.h"
#include "text/documents.h"

namespace cacheready {

// What fits for these models (null: left out). Fails, naming the least that does, if nothing fits.
// `output_bytes` of expert outputs at once; 0: a share of the limit.
MemoryPlan PlanReading(std::initializer_list<const Model*> models, const MemoryUse& use,
                       std::uint64_t output_bytes = 0);
// The same, and the models keep to it. Told under -v.
MemoryPlan ManageReading(std::initializer_list<const Model*> models, const MemoryUse& use,
                         std::uint64_t output_bytes = 0);
// What was read and how, and the most memory that the process had; under -v.
void TellReading(std::initializer_list<const Model*> models);

// What the user set, for stages that hold no model: 0 is the default.
std::uint64_t ChosenMaxMemory();
ReadMode ChosenReadMode();

std::int64_t TokensIn(const std::vector<Document>& documents);

Json ToJson(const MemoryPlan& plan);
void AddFacts(const MemoryPlan& plan, FactList& facts);

}  // namespace cacheready
