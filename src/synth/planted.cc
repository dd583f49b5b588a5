// SPDX-License-Identifier: Apache-2.0
#include "synth/planted.h"

#include "base/error.h"
#include "synth/edited_checkpoint.h"
#include "synth/planted_rows.h"
#include "synth/routed_blocks.h"

namespace cacheready {
namespace {

// The first `groups` of a block.
std::vector<CopiedExperts> FirstGroups(const Checkpoint& source, const RoutedBlock& block,
                                       const PlantedOptions& options) {
  if (options.groups * options.group_size > block.experts) {
    Fail("{}: '{}' has {} experts, but {} groups of {} were asked for", source.folder().string(),
         block.gate, block.experts, options.groups, options.group_size);
  }
  std::vector<CopiedExperts> groups;
  for (std::int64_t first = 0; first < options.groups * options.group_size;
       first += options.group_size) {
    CopiedExperts group{block.layer, block.mtp, {}};
    for (std::int64_t e = first; e < first + options.group_size; ++e) {
      group.members.push_back(static_cast<std::int32_t>(e));
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

// Those of the chosen groups that lie in a block.
std::vector<CopiedExperts> ChosenGroups(const Checkpoint& source, const RoutedBlock& block,
                                        const PlantedOptions& options) {
  std::vector<CopiedExperts> groups;
  for (const CopiedExperts& group : options.chosen) {
    if (group.layer != block.layer || group.mtp != block.mtp) continue;
    for (const std::int32_t e : group.members) {
      if (e >= 0 && e < block.experts) continue;
      Fail("{}: '{}' has {} experts, but expert {} was asked for", source.folder().string(),
           block.gate, block.experts, e);
    }
    groups.push_back(group);
  }
  return groups;
}

void PlantGroup(const RoutedBlock& block, const CopiedExperts& group, const PlantedOptions& options,
                TensorEdits* edits) {
  const RowNoise noise{options.row_noise, options.bias_noise, options.seed};
  for (std::size_t n = 1; n < group.members.size(); ++n) {
    CopyExpert(block, group.members[0], group.members[n], edits);
    CopyRouterRow(block, group.members[0], group.members[n], noise, edits);
  }
}

}  // namespace

std::vector<CopiedExperts> WritePlanted(const Checkpoint& source, const PlantedOptions& options,
                                        const std::filesystem::path& out) {
  TensorEdits edits(source);
  std::vector<CopiedExperts> planted;
  for (const RoutedBlock& block : RoutedBlocks(source)) {
    if (block.mtp && !options.mtp) continue;
    for (CopiedExperts& group : options.chosen.empty() ? FirstGroups(source, block, options)
                                                       : ChosenGroups(source, block, options)) {
      PlantGroup(block, group, options, &edits);
      planted.push_back(std::move(group));
    }
  }
  if (!options.chosen.empty() && planted.size() != options.chosen.size()) {
    Fail("{}: {} groups of experts were asked for, and only {} lie in its routed layers",
         source.folder().string(), options.chosen.size(), planted.size());
  }
  WriteEditedCheckpoint(edits, out);
  return planted;
}

}  // namespace cacheready
