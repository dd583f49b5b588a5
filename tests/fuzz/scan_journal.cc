// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/hash.h"
#include "fuzz/scratch_folder.h"
#include "fuzz/targets.h"
#include "scan/journal.h"

namespace cacheready {

// A journal; behind a zero byte, the hidden states of layer 0. Without a journal, one that fits.
void FuzzScanJournal(std::span<const std::uint8_t> input) {
  static const FuzzFolder folder;
  const std::string_view all = AsText(input);
  const std::size_t zero = std::min(all.find('\0'), all.size());
  const auto state = input.subspan(std::min(zero + 1, input.size()));
  std::string journal(all.substr(0, zero));
  if (journal.empty()) {
    journal = fmt::format("cacheready-scan-journal-1 key\nlayer 0 record - state {:016x}\n",
                          Xxh3(std::as_bytes(state)));
  }
  folder.Write("journal", {reinterpret_cast<const std::uint8_t*>(journal.data()), journal.size()});
  folder.Write("state-0.safetensors", state);
  try {
    const StreamState resumed = ScanJournal(folder.path(), "key").Resume();
    CR_CHECK(resumed.next_layer > 0 || resumed.hidden.empty(), "states before the first layer");
  } catch (const Error&) {
  }
}

}  // namespace cacheready
