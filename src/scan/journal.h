// What makes an interrupted scan resumable: after each layer its record and the hidden states are
// on disk, then one line commits them. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "stream/stream.h"

namespace cacheready {

std::vector<std::byte> SerializeState(const StreamState& state);

// SCAN/journal, text: a first line with the run's key, then one line a committed layer:
//   layer N record XXH3 state XXH3
// (record "-" in dense layers). The hidden states after layer N are in SCAN/state-(N mod 2), so the
// ones before stay valid until the line is durable.
class ScanJournal {
 public:
  // Fails if the folder's journal has another key, saying how to discard it.
  ScanJournal(std::filesystem::path scan, std::string key);

  // The state after the last commit whose files are all intact; the journal is cut back to it. An
  // empty state (next_layer 0, no hidden) starts anew.
  StreamState Resume();

  // `state`: the serialized state after `layer`, whose record (if it has one) is written.
  void Commit(std::int64_t layer, bool has_record, std::span<const std::byte> state);

  // Removes the hidden states.
  void Finish();

 private:
  struct Line {
    std::int64_t layer = 0;
    std::string record_hash, state_hash;
  };
  std::filesystem::path JournalFile() const { return scan_ / "journal"; }
  std::filesystem::path StateFile(std::int64_t layer) const;
  std::string FirstLine() const;
  bool RecordsIntact(std::size_t lines) const;

  std::filesystem::path scan_;
  std::string key_;
  std::vector<Line> lines_;
};

}  // namespace cacheready
