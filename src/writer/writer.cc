// SPDX-License-Identifier: Apache-2.0
//
// How a checkpoint is written so that a kill at any point costs only time:
//
//   OUT.partial.journal  lock, and one synced line for every finished file
//   OUT.partial.reserve  space set aside
//   OUT.partial/         the folder being made; renamed to OUT in one step
//
// A file without a line is made again; a file with a line is trusted only if its size and hash
// are as the line says. The line that names the finished folder's inode is written before the
// rename, so that a second call knows its own OUT. The journal goes last.
#include "writer/writer.h"

#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "base/console.h"
#include "base/error.h"
#include "base/memory.h"
#include "io/block_reader.h"
#include "io/publish.h"
#include "records/sealed_plan.h"
#include "writer/file_tasks.h"
#include "writer/journal.h"
#include "writer/make_file.h"
#include "writer/out_folder.h"
#include "writer/row_ranges.h"
#include "writer/space.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

WrittenFile Describe(const FileTask& task, const std::string& method) {
  return {task.path, task.bytes, method, task.PatchedBytes()};
}

void AddFile(WriteResult& result, const WrittenFile& file) {
  result.bytes_total += file.bytes;
  if (file.method.ends_with("copy")) result.bytes_copied += file.bytes;
  result.files.push_back(file);
}

WriteResult DescribeDryRun(const FileTasks& tasks, const OutFolder& place,
                           const WriteOptions& options) {
  CheckReplaceable(place, options.force);
  const fs::path parent = place.out.parent_path();
  const bool reflink = MayReflink(parent);
  const std::uint64_t device = DeviceOf(parent);
  WriteResult result;
  std::uint64_t bytes_needed = 0;
  for (const FileTask& task : tasks.files) {
    const Forecast forecast = ForecastFile(task, options, device, reflink);
    bytes_needed += forecast.bytes_needed;
    const bool only_trying_tells = forecast.method.ends_with("reflink");
    AddFile(result, Describe(task, forecast.method + (only_trying_tells ? " or copy" : "")));
  }
  CheckSpace(parent, bytes_needed);
  result.left_out = tasks.left_out;
  return result;
}

// Brings OUT.partial to a state that holds nothing but folders and files with a valid line, which
// are returned. A folder made by somebody else, or by another job, is not touched without force.
bool IsFinishedFile(const fs::path& path, const JournalEntry& entry, ReadMode io) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_nlink != 1) {
    return false;
  }
  return entry.made.xxh3 && static_cast<std::uint64_t>(status.st_size) == entry.bytes &&
         FileXxh3(path, io) == *entry.made.xxh3;
}

std::map<std::string, JournalEntry> SweepPartial(const OutFolder& place, const Journal& journal,
                                                 ReadMode io) {
  std::map<std::string, JournalEntry> finished;
  std::vector<fs::path> unfinished;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(place.partial)) {
    if (entry.is_directory() && !entry.is_symlink()) continue;
    const std::string path = entry.path().lexically_relative(place.partial).generic_string();
    const auto line = journal.files().find(path);
    if (line != journal.files().end() && IsFinishedFile(entry.path(), line->second, io)) {
      finished.insert(*line);
    } else {
      unfinished.push_back(entry.path());
    }
  }
  for (const fs::path& path : unfinished) fs::remove(path);
  return finished;
}

// True if there is something to go on with.
bool StartOrResume(const OutFolder& place, Journal& journal, const std::string& job, bool force) {
  const bool partial_exists = fs::exists(fs::symlink_status(place.partial));
  const bool same_job = journal.job() == job;
  if (partial_exists && !same_job) {
    if (!force) {
      Fail("{}: {}; remove it, or --force to start over", place.partial.string(),
           journal.job().empty()
               ? "exists and no journal says that this program made it"
               : "is the unfinished write of another plan or of a source that has changed since");
    }
    fs::remove_all(place.partial);
  }
  if (!same_job) journal.Start(job);
  // Whatever a crash leaves: never the folder without the journal that says whose it is.
  SyncFolder(place.partial.parent_path());
  fs::create_directory(place.partial);
  if (!fs::is_directory(fs::symlink_status(place.partial))) {
    Fail("{}: is not a folder; remove it", place.partial.string());
  }
  return same_job;
}

// The rest of the job: makes every file that has no valid line yet.
class FileMaker {
 public:
  FileMaker(const FileTasks& tasks, const OutFolder& place, const WriteOptions& options,
            Journal& journal)
      : tasks_(tasks), place_(place), options_(options), journal_(journal) {}

  WriteResult MakeAll() {
    finished_ = SweepPartial(place_, journal_, options_.io);
    SetSpaceAside();
    Progress progress("copying MB", static_cast<std::int64_t>(bytes_needed_ >> 20));
    std::uint64_t bytes_done = 0;
    WriteResult result;
    for (const FileTask& task : tasks_.files) {
      const auto on_bytes = [&](std::uint64_t bytes) {
        bytes_done += bytes;
        progress.Update(static_cast<std::int64_t>(bytes_done >> 20), task.path);
      };
      AddFile(result, Describe(task, MakeOne(task, on_bytes)));
    }
    reservation_.reset();
    CheckNothingElse();
    return result;
  }

 private:
  void SetSpaceAside() {
    fs::remove(place_.reserve);  // of a run that was killed
    reservation_.emplace(place_.reserve);
    const std::uint64_t device = DeviceOf(place_.partial);
    const auto probe =
        std::find_if(tasks_.files.begin(), tasks_.files.end(), [&](const FileTask& task) {
          return !task.is_new() && task.bytes > 0 && task.device == device;
        });
    const bool reflink = options_.link != LinkMode::kCopy && probe != tasks_.files.end() &&
                         reservation_->CanReflink(probe->source);
    for (const FileTask& task : tasks_.files) {
      if (finished_.contains(task.path)) continue;
      forecasts_[task.path] = ForecastFile(task, options_, device, reflink).bytes_needed;
      bytes_needed_ += forecasts_[task.path];
    }
    CheckSpace(place_.partial, bytes_needed_);
    reservation_->Reserve(bytes_needed_);
  }

  std::string MakeOne(const FileTask& task, const std::function<void(std::uint64_t)>& on_bytes) {
    if (const auto done = finished_.find(task.path); done != finished_.end()) {
      return done->second.made.method;
    }
    ThrowIfInterrupted();
    MakeFoldersOf(task.path);
    reservation_->Release(forecasts_[task.path]);
    const MadeFile made = MakeFile(task, place_.partial / task.path, options_, on_bytes);
    journal_.AddFile(task.path, {task.bytes, made});
    return made.method;
  }

  // A link in the place of a folder would lead out of OUT.partial.
  void MakeFoldersOf(const std::string& path) {
    for (std::size_t slash = path.find('/'); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
      const fs::path folder = place_.partial / path.substr(0, slash);
      if (fs::is_directory(fs::symlink_status(folder))) continue;
      fs::create_directory(folder);
    }
  }

  void CheckNothingElse() const {
    std::set<std::string> expected;
    for (const FileTask& task : tasks_.files) expected.insert(task.path);
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(place_.partial)) {
      const std::string path = entry.path().lexically_relative(place_.partial).generic_string();
      if ((!entry.is_directory() || entry.is_symlink()) && !expected.contains(path)) {
        Fail("{}: appeared while the folder was written; remove it", entry.path().string());
      }
    }
  }

  const FileTasks& tasks_;
  const OutFolder& place_;
  const WriteOptions& options_;
  Journal& journal_;
  std::map<std::string, JournalEntry> finished_;
  std::map<std::string, std::uint64_t> forecasts_;
  std::uint64_t bytes_needed_ = 0;
  std::optional<SpaceReservation> reservation_;
};

// A run that was killed between the rename and the end of tidying up.
WriteResult DescribePublished(const FileTasks& tasks, const Journal& journal) {
  WriteResult result;
  for (const FileTask& task : tasks.files) {
    const auto line = journal.files().find(task.path);
    AddFile(result,
            Describe(task, line == journal.files().end() ? "copy" : line->second.made.method));
  }
  return result;
}

void AddWarnings(WriteResult& result, const Checkpoint& source, const WriteOptions& options) {
  const auto count = [&](std::string_view method) {
    return std::count_if(result.files.begin(), result.files.end(),
                         [&](const WrittenFile& file) { return file.method == method; });
  };
  if (const auto linked = count("hard link"); linked > 0) {
    result.warnings.push_back(fmt::format(
        "{} files of the output are hard links to {}: a program that writes into one writes into "
        "the other",
        linked, source.folder().string()));
  }
  const bool fell_back = options.link == LinkMode::kReflink || options.link == LinkMode::kHardlink;
  if (const auto copied = count("copy"); fell_back && copied > 0) {
    result.warnings.push_back(
        fmt::format("{} files were copied: the file system could not link them as asked", copied));
  }
}

WriteResult WriteUnderLock(const Checkpoint& source, const FileTasks& tasks, const OutFolder& place,
                           const WriteOptions& options) {
  Journal journal(place.journal);
  const std::string job = JobSha256(tasks.files);
  WriteResult result;
  if (journal.job() == job && IsPublished(place, journal)) {
    result = DescribePublished(tasks, journal);
    result.resumed = true;
  } else {
    CheckReplaceable(place, options.force);
    const bool resumed = StartOrResume(place, journal, job, options.force);
    result = FileMaker(tasks, place, options, journal).MakeAll();
    result.resumed = resumed;
    Publish(place, journal, options.force);
  }
  TidyUp(place);
  result.left_out = tasks.left_out;
  AddWarnings(result, source, options);
  return result;
}

}  // namespace

bool IsWriteUnfinished(const fs::path& out) { return fs::exists(JournalOf(out)); }

WriteResult WriteCheckpoint(const Checkpoint& source, std::span<const RowPatch> patches,
                            const std::string& plan_json, const fs::path& out,
                            const WriteOptions& options) {
  const std::vector<std::vector<RowRange>> rows = LocateRows(source, patches);
  const std::string sealed_plan = plan_json.empty() ? "" : SealPlan(plan_json);
  const FileTasks tasks = ListFileTasks(source, rows, sealed_plan, options.include_outside_index);
  const OutFolder place = LocateOut(source, tasks.files, out);
  BytesLeft(options.max_memory, kReaderBytes, "to copy files");
  if (options.dry_run) return DescribeDryRun(tasks, place, options);

  // Refusals that need no journal come before one is made.
  if (!fs::exists(place.journal)) DescribeDryRun(tasks, place, options);
  return WriteUnderLock(source, tasks, place, options);
}

}  // namespace cacheready
