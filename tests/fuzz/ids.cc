// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "fuzz/scratch_folder.h"
#include "fuzz/targets.h"
#include "text/documents.h"

namespace cacheready {

void FuzzIds(std::span<const std::uint8_t> input) {
  static const FuzzFolder folder;
  for (const char* name : {"ids", "ids.safetensors"}) {
    try {
      for (const auto& row : ReadIdsFile(folder.Write(name, input))) {
        CR_CHECK(!row.empty(), "an empty row");
        for (const std::int32_t id : row) CR_CHECK(id >= 0, "id {}", id);
      }
    } catch (const Error&) {
    }
  }
}

}  // namespace cacheready
