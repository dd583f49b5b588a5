// The places of one write: OUT, and beside it the unfinished folder, its journal and its space.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "writer/file_tasks.h"
#include "writer/journal.h"

namespace cacheready {

struct OutFolder {
  std::filesystem::path out;      // absolute, its parent without links
  std::filesystem::path partial;  // OUT.partial: becomes OUT
  std::filesystem::path journal;  // OUT.partial.journal: also the lock
  std::filesystem::path reserve;  // OUT.partial.reserve: space set aside
  bool exists = false;            // OUT is there and not empty
};

// Where the journal of a write of `out` lies.
std::filesystem::path JournalOf(const std::filesystem::path& out);

// Fails if OUT is the source, lies inside it or around it (or around a file that the source links
// to), is a file or a link, or if its parent is missing.
OutFolder LocateOut(const Checkpoint& source, std::span<const FileTask> tasks,
                    const std::filesystem::path& out);

// Fails if OUT is a non-empty folder and `force` is not given, or if it is no checkpoint: force
// replaces a checkpoint, never a folder of something else.
void CheckReplaceable(const OutFolder& place, bool force);

// True if OUT is the very folder that this journal published, before it could be tidied away.
bool IsPublished(const OutFolder& place, const Journal& journal);

// Syncs the folders of the finished OUT.partial and renames it: over nothing or an empty folder,
// or, if `force`, exchanged with the old OUT, which is then at OUT.partial.
void Publish(const OutFolder& place, Journal& journal, bool force);

// Removes everything beside OUT; the journal last, in one step, so that a kill before it is told
// from one after it.
void TidyUp(const OutFolder& place);

}  // namespace cacheready
