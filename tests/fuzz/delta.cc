// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "fuzz/scratch_folder.h"
#include "fuzz/targets.h"
#include "writer/writer.h"

namespace cacheready {

void FuzzDelta(std::span<const std::uint8_t> input) {
  static const FuzzFolder folder;
  try {
    const Delta delta = ReadDelta(folder.Write("x.delta.safetensors", input));
    CR_CHECK(delta.apply.size() == delta.revert.size(), "rows without a way back");
    for (std::size_t r = 0; r < delta.apply.size(); ++r) {
      CR_CHECK(delta.apply[r].tensor == delta.revert[r].tensor, "another tensor");
      CR_CHECK(delta.apply[r].row == delta.revert[r].row, "another row");
      CR_CHECK(delta.apply[r].bytes.size() == delta.revert[r].bytes.size(), "another size");
    }
  } catch (const Error&) {
  }
}

}  // namespace cacheready
