// SPDX-License-Identifier: Apache-2.0
#include "scan/journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <sstream>
#include <utility>

#include "base/console.h"
#include "base/error.h"
#include "base/hash.h"
#include "checkpoint/safetensors_header.h"
#include "io/mapped_file.h"
#include "io/publish.h"
#include "records/scan_record.h"

namespace cacheready {
namespace {

constexpr std::string_view kMagic = "cacheready-scan-journal-1";
constexpr const char* kNoRecord = "-";

std::string FileHash(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path)) return "absent";
  return fmt::format("{:016x}", Xxh3(MappedFile(path).bytes()));
}

// Adds one line to the end of a file and waits until it is on disk.
void AppendDurably(const std::filesystem::path& path, const std::string& line) {
  const int descriptor = open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (descriptor < 0) Fail("{}: cannot be opened: {}", path.string(), std::strerror(errno));
  std::string_view rest = line;
  ssize_t written = 0;
  while (!rest.empty() && written >= 0) {
    written = write(descriptor, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) written = 0;
    if (written > 0) rest.remove_prefix(static_cast<std::size_t>(written));
  }
  const bool durable = rest.empty() && fsync(descriptor) == 0;
  const int error = errno;
  close(descriptor);
  if (!durable) Fail("{}: cannot be written: {}", path.string(), std::strerror(error));
}

StreamState ReadState(const std::filesystem::path& path, std::int64_t next_layer) {
  const MappedFile file(path);
  const SafetensorsHeader header =
      ParseSafetensorsHeader(file.bytes(), file.bytes().size(), path.string());
  StreamState state;
  state.next_layer = next_layer;
  for (const TensorEntry& entry : header.tensors) {
    if (entry.dtype != Dtype::kF32 || entry.shape.size() != 2) {
      Fail("{}: tensor '{}' is {} {}, expected F32 [tokens, hidden]", path.string(), entry.name,
           DtypeName(entry.dtype), ShapeText(entry.shape));
    }
    Matrix hidden(entry.shape.at(0), entry.shape.at(1));
    std::memcpy(hidden.values().data(), file.bytes().data() + header.data_begin + entry.begin,
                hidden.values().size_bytes());
    state.hidden.push_back(std::move(hidden));
  }
  return state;
}

}  // namespace

std::vector<std::byte> SerializeState(const StreamState& state) {
  std::vector<NamedTensor> tensors;
  for (std::size_t v = 0; v < state.hidden.size(); ++v) {
    const Matrix& hidden = state.hidden[v];
    tensors.push_back({fmt::format("hidden.{}", v),
                       Dtype::kF32,
                       {hidden.rows(), hidden.cols()},
                       std::as_bytes(hidden.values())});
  }
  return SerializeSafetensors(tensors);
}

ScanJournal::ScanJournal(std::filesystem::path scan, std::string key)
    : scan_(std::move(scan)), key_(std::move(key)) {
  if (!std::filesystem::exists(JournalFile())) return;
  std::istringstream text(ReadTextFile(JournalFile()));
  std::string line;
  std::getline(text, line);
  if (line != FirstLine()) {
    Fail(
        "{}: holds an unfinished scan of another checkpoint, text, part, seed or option; choose "
        "another "
        "folder, or discard it with --fresh",
        scan_.string());
  }
  // A last line without its end was cut off by a crash and commits nothing.
  while (std::getline(text, line) && !text.eof()) {
    std::istringstream words(line);
    std::string layer_word, record_word, state_word;
    Line committed;
    words >> layer_word >> committed.layer >> record_word >> committed.record_hash >> state_word >>
        committed.state_hash;
    if (!words || committed.layer != static_cast<std::int64_t>(lines_.size())) break;
    lines_.push_back(std::move(committed));
  }
}

std::filesystem::path ScanJournal::StateFile(std::int64_t layer) const {
  return scan_ / fmt::format("state-{}.safetensors", layer % 2);
}

std::string ScanJournal::FirstLine() const { return fmt::format("{} {}", kMagic, key_); }

bool ScanJournal::RecordsIntact(std::size_t lines) const {
  for (std::size_t n = 0; n < lines; ++n) {
    const Line& line = lines_[n];
    if (line.record_hash == kNoRecord) continue;
    if (FileHash(LayerRecordFile(scan_, line.layer)) != line.record_hash) return false;
  }
  return true;
}

StreamState ScanJournal::Resume() {
  StreamState state;
  const std::size_t committed = lines_.size();
  while (!lines_.empty()) {
    const Line& last = lines_.back();
    if (FileHash(StateFile(last.layer)) == last.state_hash && RecordsIntact(lines_.size())) {
      state = ReadState(StateFile(last.layer), last.layer + 1);
      break;
    }
    lines_.pop_back();
  }
  if (lines_.size() < committed) {
    Warn(
        fmt::format("{}: files of {} committed layers are gone or damaged; these are scanned again",
                    scan_.string(), committed - lines_.size()));
  }
  std::string text = FirstLine() + "\n";
  for (const Line& line : lines_) {
    text +=
        fmt::format("layer {} record {} state {}\n", line.layer, line.record_hash, line.state_hash);
  }
  PublishFile(JournalFile(), text);
  return state;
}

void ScanJournal::Commit(std::int64_t layer, bool has_record, std::span<const std::byte> state) {
  CR_CHECK(layer == static_cast<std::int64_t>(lines_.size()), "layer {} committed after {} others",
           layer, lines_.size());
  PublishFile(StateFile(layer), state);
  Line line;
  line.layer = layer;
  line.record_hash = has_record ? FileHash(LayerRecordFile(scan_, layer)) : kNoRecord;
  line.state_hash = fmt::format("{:016x}", Xxh3(state));
  AppendDurably(JournalFile(), fmt::format("layer {} record {} state {}\n", line.layer,
                                           line.record_hash, line.state_hash));
  lines_.push_back(std::move(line));
}

void ScanJournal::Finish() {
  std::filesystem::remove(StateFile(0));
  std::filesystem::remove(StateFile(1));
  std::filesystem::remove(JournalFile());
  SyncFolder(scan_);
}

}  // namespace cacheready
