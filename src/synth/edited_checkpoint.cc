// SPDX-License-Identifier: Apache-2.0
#include "synth/edited_checkpoint.h"

#include <algorithm>
#include <string_view>

#include "io/mapped_file.h"
#include "io/publish.h"
#include "synth/new_checkpoint.h"

namespace cacheready {
namespace {

void WriteShard(const TensorEdits& edits, std::size_t shard, const std::filesystem::path& out) {
  const Shard& source = edits.source().shards()[shard];
  const MappedFile file(source.path);
  std::vector<std::byte> bytes(file.bytes().begin(), file.bytes().end());
  for (const auto& [name, edited] : edits.edited()) {
    const TensorPlace place = edits.source().GetPlace(name);
    if (place.shard != shard) continue;
    std::copy(edited.begin(), edited.end(),
              bytes.begin() + static_cast<std::ptrdiff_t>(place.offset_bytes));
  }
  PublishFile(out / source.file, bytes);
}

}  // namespace

std::span<std::byte> TensorEdits::Bytes(std::string_view tensor) {
  const auto found = edited_.find(tensor);
  if (found != edited_.end()) return found->second;
  const std::span<const std::byte> old = source_->GetTensor(tensor).bytes;
  return edited_.emplace(std::string(tensor), std::vector<std::byte>(old.begin(), old.end()))
      .first->second;
}

void WriteEditedCheckpoint(const TensorEdits& edits, const std::filesystem::path& out) {
  const std::filesystem::path& folder = edits.source().folder();
  MakeEmptyFolder(out);
  for (std::size_t s = 0; s < edits.source().shards().size(); ++s) WriteShard(edits, s, out);
  for (const std::filesystem::path& file : Companions(folder)) {
    PublishFile(out / file.filename(), MappedFile(file).bytes());
  }
  const std::filesystem::path index = folder / "model.safetensors.index.json";
  if (std::filesystem::exists(index)) {
    PublishFile(out / index.filename(), MappedFile(index).bytes());
  }
  PublishFile(out / "config.json", MappedFile(folder / "config.json").bytes());
}

}  // namespace cacheready
