// The journal of one unfinished write, beside the folder that is being made: what can be trusted
// after a kill. One line a fact, each synced before the next step (docs/formats/journal.md).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "writer/make_file.h"
#include "writer/output_file.h"

namespace cacheready {

using FileIdentity = std::pair<std::uint64_t, std::uint64_t>;  // device, inode

struct JournalEntry {
  std::uint64_t bytes = 0;
  MadeFile made;
};

class Journal {
 public:
  // Opens or makes the file and holds it locked. A torn last line, all that a kill can leave, is
  // cut off. Fails if another process holds it, or if the file is not a journal.
  explicit Journal(const std::filesystem::path& path);

  const std::string& job() const { return job_; }  // "" before Start()
  const std::map<std::string, JournalEntry>& files() const { return files_; }
  // The finished folder, written before it is renamed: OUT with this identity is ours.
  const std::optional<FileIdentity>& published() const { return published_; }

  void Start(const std::string& job_sha256);  // forgets everything before
  void AddFile(const std::string& path, const JournalEntry& entry);
  void AddPublished(const FileIdentity& folder);

 private:
  void Lock() const;
  void Read();
  bool TakeLine(const std::string& line);
  void Append(const std::string& line);

  std::filesystem::path path_;
  Descriptor descriptor_;
  std::string job_;
  std::map<std::string, JournalEntry> files_;
  std::optional<FileIdentity> published_;
};

}  // namespace cacheready
