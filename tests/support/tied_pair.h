// A planted pair through the whole job: random documents, a copy of one expert in one layer, scan,
// plan, apply, and what has to hold of the written checkpoint.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "records/plan.h"
#include "scan/scan_text.h"
#include "synth/planted.h"
#include "text/documents.h"

namespace cacheready {

// Ids below `vocabulary`, the same for the same arguments: the models of the goldens are random, so
// any text routes as well as another.
std::vector<Document> RandomDocuments(std::int64_t vocabulary);

enum class RoutingGroup { kSame, kOther };
// The expert of the last layer that routes to two or more (or of the last) that is selected by
// nearest to half of the tokens (so that the boundary often lies between it and its copy), and the
// least used one of the others of its routing group, or of the other groups.
CopiedExperts ChoosePair(const Checkpoint& source, RoutingGroup group);

// Copies members[0] over members[1]; their rows and biases lie 1 % apart.
void PlantPair(const Checkpoint& source, const CopiedExperts& pair,
               const std::filesystem::path& out);

// A checkpoint that holds a planted pair, its scan and the plan made of it.
struct ScannedPair {
  CopiedExperts pair;
  std::filesystem::path planted, scan;
  ScanText text;
  Plan plan;
};
ScannedPair ScanPair(const std::filesystem::path& planted, const CopiedExperts& pair,
                     const std::filesystem::path& scan);

// The plan ties the pair and nothing else. Writes it to `out` and expects of it:
// - gate rows and bias entries of both members are bit-identical and those of the plan, every other
//   byte is the planted checkpoint's, and verify says so;
// - both members rank equally at every token of the layer, bit by bit;
// - the layer selects as the plan forecast and weighs so within rounding, and not as before.
void ExpectTied(const ScannedPair& scanned, const std::filesystem::path& out);

}  // namespace cacheready
