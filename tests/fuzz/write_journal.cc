// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "fuzz/scratch_folder.h"
#include "fuzz/targets.h"
#include "writer/journal.h"

namespace cacheready {

void FuzzWriteJournal(std::span<const std::uint8_t> input) {
  static const FuzzFolder folder;
  try {
    const std::filesystem::path path = folder.Write("out.partial.journal", input);
    const auto files = Journal(path).files();
    Journal again(path);  // a torn line is cut off: what stays is read as before
    CR_CHECK(again.files().size() == files.size(), "number of files changed");
    again.AddFile("name \"\n", {.bytes = 7, .made = {"patched copy", 9}});
  } catch (const Error&) {
  }
}

}  // namespace cacheready
