// SPDX-License-Identifier: Apache-2.0
#include "writer/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "io/mapped_file.h"

namespace cacheready {
namespace {

constexpr std::string_view kHeader = "cacheready-write-1";
constexpr std::string_view kNoHash = "-";

// The first `count` fields of a line, and the rest of it as the last one.
std::vector<std::string> SplitLine(std::string_view line, std::size_t count) {
  std::vector<std::string> fields;
  while (fields.size() < count) {
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) return {};
    fields.emplace_back(line.substr(0, space));
    line.remove_prefix(space + 1);
  }
  fields.emplace_back(line);
  return fields;
}

std::optional<std::uint64_t> ParseNumber(std::string_view text, int base) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::string Replaced(std::string text, char from, char to) {
  std::replace(text.begin(), text.end(), from, to);
  return text;
}

}  // namespace

Journal::Journal(const std::filesystem::path& path)
    : path_(path),
      descriptor_(open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0666)) {
  if (descriptor_.get() < 0) {
    Fail("{}: journal cannot be opened: {}", path.string(), std::strerror(errno));
  }
  Lock();
  Read();
}

// The file must be the one that the name still means: a run that has just ended removes its
// journal, and a lock on the removed file would exclude nobody. One name: a hard link to a file of
// somebody else would be written into.
void Journal::Lock() const {
  int failed = flock(descriptor_.get(), LOCK_EX | LOCK_NB);
  while (failed != 0 && errno == EINTR) failed = flock(descriptor_.get(), LOCK_EX | LOCK_NB);
  if (failed != 0) {
    Fail("{}: {}", path_.string(),
         errno == EWOULDBLOCK ? "another process is writing this output; wait for it or stop it"
                              : std::strerror(errno));
  }
  struct stat opened {};
  struct stat named {};
  if (fstat(descriptor_.get(), &opened) != 0 || lstat(path_.c_str(), &named) != 0 ||
      opened.st_ino != named.st_ino || opened.st_dev != named.st_dev) {
    Fail("{}: was removed by another run that has just ended; run again", path_.string());
  }
  if (!S_ISREG(opened.st_mode) || opened.st_nlink != 1) {
    Fail("{}: is not a journal of ours (a regular file with one name)", path_.string());
  }
}

void Journal::Read() {
  const std::string text = ReadTextFile(path_);
  std::size_t begin = 0;
  for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    if (!TakeLine(text.substr(begin, end - begin))) {
      Fail("{}: byte {}: not a line of a write journal; remove the file if it is not needed",
           path_.string(), begin);
    }
    begin = end + 1;
  }
  if (begin < text.size() && ftruncate(descriptor_.get(), static_cast<off_t>(begin)) != 0) {
    Fail("{}: the torn last line cannot be cut off: {}", path_.string(), std::strerror(errno));
  }
}

bool Journal::TakeLine(const std::string& line) {
  if (job_.empty()) {
    const std::vector<std::string> fields = SplitLine(line, 1);
    if (fields.size() != 2 || fields[0] != kHeader || fields[1].size() != 64) return false;
    job_ = fields[1];
    return true;
  }
  if (line.starts_with("published ")) {
    const std::vector<std::string> fields = SplitLine(line, 2);
    if (fields.empty()) return false;
    const auto device = ParseNumber(fields[1], 10);
    const auto inode = ParseNumber(fields[2], 10);
    if (device && inode) published_ = FileIdentity(*device, *inode);
    return device && inode;
  }
  const std::vector<std::string> fields = SplitLine(line, 4);  // file HASH BYTES METHOD "NAME"
  if (fields.empty() || fields[0] != "file") return false;
  const auto hash = ParseNumber(fields[1], 16);
  const auto bytes = ParseNumber(fields[2], 10);
  if ((!hash && fields[1] != kNoHash) || !bytes) return false;
  const Json name = ParseJson(fields[4], path_.string());
  if (!name.is_string()) return false;
  files_[name.get<std::string>()] = {*bytes, {Replaced(fields[3], '-', ' '), hash}};
  return true;
}

void Journal::Start(const std::string& job_sha256) {
  if (ftruncate(descriptor_.get(), 0) != 0) {
    Fail("{}: cannot be emptied: {}", path_.string(), std::strerror(errno));
  }
  job_ = job_sha256;
  files_.clear();
  published_.reset();
  Append(fmt::format("{} {}\n", kHeader, job_sha256));
}

void Journal::AddFile(const std::string& path, const JournalEntry& entry) {
  const std::string hash =
      entry.made.xxh3 ? fmt::format("{:016x}", *entry.made.xxh3) : std::string(kNoHash);
  Append(fmt::format("file {} {} {} {}\n", hash, entry.bytes, Replaced(entry.made.method, ' ', '-'),
                     Json(path).dump()));
  files_[path] = entry;
}

void Journal::AddPublished(const FileIdentity& folder) {
  Append(fmt::format("published {} {}\n", folder.first, folder.second));
  published_ = folder;
}

void Journal::Append(const std::string& line) {
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t written = write(descriptor_.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      Fail("{}: cannot be written: {}", path_.string(), std::strerror(errno));
    }
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  if (fsync(descriptor_.get()) != 0) {
    Fail("{}: cannot be synced: {}", path_.string(), std::strerror(errno));
  }
}

}  // namespace cacheready
