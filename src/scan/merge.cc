// SPDX-License-Identifier: Apache-2.0
#include "scan/merge.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <string>

#include "base/console.h"
#include "base/error.h"
#include "io/publish.h"
#include "records/scan_part.h"
#include "scan/merge_layer.h"
#include "scan/scan_folder.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

struct OpenedPart {
  fs::path folder;
  ScanHeader header;
};

bool SameDocuments(const ScanHeader& a, const ScanHeader& b) {
  return std::ranges::equal(a.documents, b.documents,
                            [](const ScannedDocument& p, const ScannedDocument& q) {
                              return p.sha256 == q.sha256 && p.domain == q.domain &&
                                     p.first_token == q.first_token && p.tokens == q.tokens;
                            });
}

bool SameShape(const ScanHeader& a, const ScanHeader& b) {
  return a.family == b.family && a.layout_sha256 == b.layout_sha256 && a.hidden == b.hidden &&
         a.layers == b.layers && a.moe_layers == b.moe_layers;
}

// The first option in which two headers differ, with both values.
std::string OptionDifference(const Json& a, const Json& b) {
  for (const auto& [key, value] : a.items()) {
    const Json* other = FindMember(b, key);
    if (other == nullptr || *other != value) {
      return fmt::format("option '{}': {} and {}", key, value.dump(),
                         other == nullptr ? "none" : other->dump());
    }
  }
  return "options";
}

// What keeps two parts from being of one scan; "" if nothing.
std::string Difference(const ScanHeader& a, const ScanHeader& b) {
  const auto values = [](std::string_view name, const auto& x, const auto& y) {
    return fmt::format("{}: '{}' and '{}'", name, x, y);
  };
  if (a.tool_version != b.tool_version) {
    return values("versions of cacheready", a.tool_version, b.tool_version);
  }
  if (a.numerics_class != b.numerics_class) {
    return values("numerics classes", a.numerics_class, b.numerics_class);
  }
  if (!SameShape(a, b)) {
    return values("checkpoints (families and SHA-256 of the tensor layouts)",
                  a.family + " " + a.layout_sha256, b.family + " " + b.layout_sha256);
  }
  if (a.profile != b.profile) return values("profiles", a.profile, b.profile);
  if (a.seed != b.seed) return values("seeds", a.seed, b.seed);
  if (a.options != b.options || a.probe_tokens != b.probe_tokens) {
    return OptionDifference(a.options, b.options);
  }
  if (!SameDocuments(a, b)) return "lists of documents";
  if (a.key != b.key) return "checkpoints (config, router tensors or tokenizer)";
  if (a.part.of != b.part.of) {
    return fmt::format("numbers of parts: {} and {}", a.part.of, b.part.of);
  }
  return "";
}

void CheckComplete(const std::map<std::int64_t, fs::path>& parts, std::int64_t of) {
  std::vector<std::int64_t> missing;
  for (std::int64_t number = 1; number <= of; ++number) {
    if (!parts.contains(number)) missing.push_back(number);
  }
  if (missing.empty()) return;
  Fail("merge: of {} parts these are missing: {}; scan them with `--part I/{}`", of,
       fmt::join(missing, ", "), of);
}

std::uint64_t RecordBytes(const ScanParts& parts) {
  std::uint64_t bytes = 0;
  for (const fs::path& folder : parts.folders) {
    for (const std::int64_t layer : parts.whole.moe_layers) {
      const fs::path file = LayerRecordFile(folder, layer);
      if (!fs::is_regular_file(file)) {
        Fail("{}: is missing: '{}' is not whole; scan that part again", file.string(),
             folder.string());
      }
      bytes += fs::file_size(file);
    }
  }
  return bytes;
}

void RefusePartAsOutput(const ScanParts& parts, const fs::path& out) {
  if (!fs::exists(out)) return;
  for (const fs::path& folder : parts.folders) {
    if (fs::equivalent(folder, out)) {
      Fail("{}: is one of the parts; choose another output", out.string());
    }
  }
}

}  // namespace

ScanParts OpenParts(std::span<const fs::path> folders) {
  if (folders.empty()) Fail("merge: no part is given");
  std::vector<OpenedPart> opened;
  for (const fs::path& folder : folders) opened.push_back({folder, ReadScanHeader(folder)});
  const OpenedPart& first = opened.front();
  std::map<std::int64_t, fs::path> by_number;
  for (const OpenedPart& part : opened) {
    const std::string difference = Difference(first.header, part.header);
    if (!difference.empty()) {
      Fail("merge: '{}' and '{}' are not parts of one scan; they differ in {}",
           first.folder.string(), part.folder.string(), difference);
    }
    const auto [entry, is_new] = by_number.emplace(part.header.part.number, part.folder);
    if (!is_new) {
      Fail("merge: '{}' and '{}' are both {}; give each part once", entry->second.string(),
           part.folder.string(), PartText(part.header.part));
    }
  }
  CheckComplete(by_number, first.header.part.of);
  ScanParts parts;
  parts.whole = first.header;
  parts.whole.part = {};
  for (const auto& [number, folder] : by_number) parts.folders.push_back(folder);
  parts.record_bytes = RecordBytes(parts);
  return parts;
}

void MergeParts(const ScanParts& parts, const MergeOptions& options, const fs::path& out) {
  RefusePartAsOutput(parts, out);
  MakeFolders(out);
  const FolderLock lock(out / ".lock");
  RemoveTemporaryFiles(out);
  if (options.fresh) DiscardScan(out);
  if (IsFinishedScan(out, parts.whole)) return;
  if (fs::exists(out / "journal")) {
    Fail("{}: holds an unfinished scan; choose another folder, or discard it with --fresh",
         out.string());
  }
  Progress progress("merge", static_cast<std::int64_t>(parts.whole.moe_layers.size()));
  std::int64_t done = 0;
  for (const std::int64_t layer : parts.whole.moe_layers) {
    ThrowIfInterrupted();
    std::vector<LayerRecord> records;
    for (const fs::path& folder : parts.folders) records.push_back(ReadLayerRecord(folder, layer));
    WriteLayerRecord(out, MergeLayer(parts.whole, records));
    progress.Update(++done);
    if (options.after_layer) options.after_layer(layer);
  }
  WriteScanHeader(out, parts.whole);
}

}  // namespace cacheready
