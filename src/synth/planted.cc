// SPDX-License-Identifier: Apache-2.0
#include "synth/planted.h"

#include "base/error.h"
#include "synth/edited_checkpoint.h"
#include "synth/planted_rows.h"
#include "synth/routed_blocks.h"

namespace cacheready {
namespace {

CopiedExperts PlantGroup(const RoutedBlock& block, std::int64_t group,
                         const PlantedOptions& options, TensorEdits* edits) {
  const std::int64_t first = group * options.group_size;
  CopiedExperts copied{block.layer, block.mtp, {static_cast<std::int32_t>(first)}};
  for (std::int64_t copy = first + 1; copy < first + options.group_size; ++copy) {
    CopyExpert(block, first, copy, edits);
    CopyRouterRow(block, first, copy, options.row_noise, options.seed, edits);
    copied.members.push_back(static_cast<std::int32_t>(copy));
  }
  return copied;
}

}  // namespace

std::vector<CopiedExperts> WritePlanted(const Checkpoint& source, const PlantedOptions& options,
                                        const std::filesystem::path& out) {
  TensorEdits edits(source);
  std::vector<CopiedExperts> planted;
  for (const RoutedBlock& block : RoutedBlocks(source)) {
    if (block.mtp && !options.mtp) continue;
    if (options.groups * options.group_size > block.experts) {
      Fail("{}: '{}' has {} experts, but {} groups of {} were asked for", source.folder().string(),
           block.gate, block.experts, options.groups, options.group_size);
    }
    for (std::int64_t group = 0; group < options.groups; ++group) {
      planted.push_back(PlantGroup(block, group, options, &edits));
    }
  }
  WriteEditedCheckpoint(edits, out);
  return planted;
}

}  // namespace cacheready
