// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <iterator>
#include <optional>

#include "base/error.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "checkpoint/shard_index.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr std::string_view kSingleName = "model.safetensors";
constexpr std::uint64_t kMaxConfigBytes = std::uint64_t{64} << 20;

bool IsWeightFile(const fs::path& path) {
  constexpr std::array<std::string_view, 5> kExtensions = {".safetensors", ".bin", ".pt", ".pth",
                                                           ".gguf"};
  const std::string extension = path.extension().string();
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end() &&
         path.filename() != "training_args.bin";
}

// All weight files below the folder, as sorted relative paths. Hidden folders (.git, .cache) hold
// other versions, not other weights.
std::vector<std::string> FindWeightFiles(const fs::path& folder) {
  std::vector<std::string> found;
  const auto options = fs::directory_options::skip_permission_denied;
  for (auto it = fs::recursive_directory_iterator(folder, options);
       it != fs::recursive_directory_iterator(); ++it) {
    if (it->path().filename().string().starts_with(".")) {
      it.disable_recursion_pending();
    } else if (!it->is_directory() && IsWeightFile(it->path())) {
      found.push_back(it->path().lexically_relative(folder).generic_string());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

bool IsTopLevelSafetensors(const std::string& relative) {
  return relative.find('/') == std::string::npos && relative.ends_with(".safetensors");
}

// The files that engines load when there is no index: model.safetensors; else every *.safetensors
// of the folder itself, where consolidated* is a second copy in another layout.
std::vector<std::string> ChooseWithoutIndex(const fs::path& folder,
                                            const std::vector<std::string>& weight_files,
                                            std::vector<std::string>& warnings) {
  std::vector<std::string> files;
  std::vector<std::string> consolidated;
  for (const std::string& file : weight_files) {
    if (file == kSingleName) return {file};
    if (!IsTopLevelSafetensors(file)) continue;
    (file.starts_with("consolidated") ? consolidated : files).push_back(file);
  }
  if (files.empty()) files = consolidated;
  if (files.empty()) {
    Fail("{}: holds neither {} nor any .safetensors file; only safetensors checkpoints are read",
         folder.string(), kIndexName);
  }
  warnings.push_back(fmt::format("{}: there is no {}; all {} .safetensors files were read as one",
                                 folder.string(), kIndexName, files.size()));
  return files;
}

// Every weight that the index names is in the file it names.
void CheckIndexAgainstHeaders(const ShardIndex& index, const fs::path& index_path,
                              const Checkpoint& checkpoint) {
  for (const auto& [tensor, file] : index.file_of_tensor) {
    const TensorView* found = checkpoint.FindTensor(tensor);
    if (found == nullptr) {
      Fail("{}: tensor '{}' is placed in '{}', but no file has it", index_path.string(), tensor,
           file);
    }
    if (found->file != file) {
      Fail("{}: tensor '{}' is placed in '{}', but it is in '{}'", index_path.string(), tensor,
           file, found->file);
    }
  }
}

std::vector<std::string> CompareIndex(const ShardIndex& index, const Checkpoint& checkpoint) {
  const fs::path index_path = checkpoint.folder() / kIndexName;
  CheckIndexAgainstHeaders(index, index_path, checkpoint);
  std::vector<std::string> warnings = index.warnings;

  if (checkpoint.num_tensors() > index.file_of_tensor.size()) {
    std::string first;
    for (const std::string_view name : checkpoint.TensorNames()) {
      const auto at = std::lower_bound(
          index.file_of_tensor.begin(), index.file_of_tensor.end(), name,
          [](const auto& entry, std::string_view key) { return entry.first < key; });
      if (at != index.file_of_tensor.end() && at->first == name) continue;
      first = name;
      break;
    }
    warnings.push_back(fmt::format(
        "{}: {} tensors are in the files but not in the index, the first is '{}'; they are "
        "included, as vLLM includes them",
        index_path.string(), checkpoint.num_tensors() - index.file_of_tensor.size(), first));
  }

  std::uint64_t tensor_bytes = 0;
  std::uint64_t file_bytes = 0;
  for (const Shard& shard : checkpoint.shards()) {
    tensor_bytes += shard.size_bytes - shard.header.data_begin;
    file_bytes += shard.size_bytes;
  }
  // Some tools write the size of the files, headers included.
  if (index.total_size && *index.total_size != tensor_bytes && *index.total_size != file_bytes) {
    warnings.push_back(fmt::format("{}: total_size is {}, but the tensors have {} bytes",
                                   index_path.string(), *index.total_size, tensor_bytes));
  }
  return warnings;
}

Json ReadConfig(const fs::path& folder) {
  const fs::path path = folder / "config.json";
  if (!fs::exists(fs::symlink_status(path))) {
    Fail("{}: has no config.json; expected a checkpoint's folder", folder.string());
  }
  Json config = ParseJson(ReadTextFile(path, kMaxConfigBytes), path.string());
  if (!config.is_object()) {
    Fail("{}: is a JSON {}, expected an object", path.string(), config.type_name());
  }
  return config;
}

// "weight" of "model.layers.0.mlp.gate.weight".
std::string_view EndingOf(std::string_view name) { return name.substr(name.rfind('.') + 1); }

void AddNumber(std::string& bytes, std::uint64_t number) {
  std::array<char, sizeof number> stored{};
  std::memcpy(stored.data(), &number, sizeof number);
  bytes.append(stored.data(), stored.size());
}

void AddText(std::string& bytes, std::string_view text) {
  AddNumber(bytes, text.size());
  bytes += text;
}

}  // namespace

Checkpoint Checkpoint::Open(const fs::path& folder) {
  if (!fs::is_directory(folder)) Fail("{}: no such folder", folder.string());
  Checkpoint checkpoint;
  checkpoint.folder_ = folder;
  checkpoint.config_ = ReadConfig(folder);

  const std::vector<std::string> weight_files = FindWeightFiles(folder);
  const fs::path index_path = folder / kIndexName;
  std::optional<ShardIndex> index;
  if (fs::exists(fs::symlink_status(index_path))) {
    index = ParseShardIndex(ReadTextFile(index_path), index_path.string());
  }
  const std::vector<std::string> files =
      index ? index->files : ChooseWithoutIndex(folder, weight_files, checkpoint.warnings_);

  checkpoint.OpenShards(files);
  checkpoint.CollectTensors();
  if (index) {
    for (std::string& warning : CompareIndex(*index, checkpoint)) {
      checkpoint.warnings_.push_back(std::move(warning));
    }
  }
  std::set_difference(weight_files.begin(), weight_files.end(), files.begin(), files.end(),
                      std::back_inserter(checkpoint.outside_index_));
  if (!checkpoint.outside_index_.empty()) {
    checkpoint.warnings_.push_back(fmt::format(
        "{}: weight files that the checkpoint does not use, maybe with a second copy of its "
        "routers: {}",
        folder.string(), fmt::join(checkpoint.outside_index_, ", ")));
  }
  return checkpoint;
}

void Checkpoint::OpenShards(const std::vector<std::string>& files) {
  shards_.reserve(files.size());
  mappings_.reserve(files.size());
  for (const std::string& file : files) {
    Shard shard;
    shard.file = file;
    shard.path = folder_ / file;
    if (!fs::exists(fs::symlink_status(shard.path))) {
      Fail("{}: the index names '{}', which is not there; is the download complete?",
           (folder_ / kIndexName).string(), file);
    }
    shard.size_bytes = mappings_.emplace_back(shard.path).bytes().size();
    shards_.push_back(std::move(shard));
  }
  // Of several damaged shards the first is told of, whichever thread was faster.
  std::vector<std::exception_ptr> errors(files.size());
  ParallelFor(static_cast<std::int64_t>(files.size()), [&](std::int64_t n) {
    const auto s = static_cast<std::size_t>(n);
    try {
      shards_[s].header = ParseSafetensorsHeader(mappings_[s].bytes(), shards_[s].size_bytes,
                                                 shards_[s].path.string());
    } catch (...) {
      errors[s] = std::current_exception();
    }
  });
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

void Checkpoint::CollectTensors() {
  struct Reference {
    std::string_view name;
    std::size_t shard;
    const TensorEntry* entry;
  };
  std::vector<Reference> references;
  for (std::size_t s = 0; s < shards_.size(); ++s) {
    for (const TensorEntry& entry : shards_[s].header.tensors) {
      references.push_back({entry.name, s, &entry});
    }
  }
  std::stable_sort(references.begin(), references.end(),
                   [](const Reference& a, const Reference& b) { return a.name < b.name; });
  for (const Reference& reference : references) {
    const Shard& shard = shards_[reference.shard];
    const TensorEntry& entry = *reference.entry;
    TensorView view;
    view.name = entry.name;
    view.dtype = entry.dtype;
    view.shape = entry.shape;
    view.bytes = mappings_[reference.shard].bytes().subspan(shard.header.data_begin + entry.begin,
                                                            entry.end - entry.begin);
    view.file = shard.file;
    const TensorPlace place{reference.shard, shard.header.data_begin + entry.begin};
    if (!tensors_.empty() && tensors_.rbegin()->first == entry.name) {
      Fail("{}: tensor '{}' is in two files, '{}' and '{}'", folder_.string(), entry.name,
           tensors_.rbegin()->second.first.file, shard.file);
    }
    tensors_.emplace_hint(tensors_.end(), entry.name, std::pair(std::move(view), place));
  }
  by_name_.reserve(tensors_.size());
  for (const auto& [name, entry] : tensors_) {
    by_name_.emplace(name, &entry);
    endings_.insert(EndingOf(name));
  }
}

const Json& Checkpoint::text_config() const {
  for (const std::string_view key : {"text_config", "llm_config", "language_config"}) {
    const Json* nested = FindMember(config_, key);
    if (nested != nullptr && nested->is_object() && !nested->empty()) return *nested;
  }
  return config_;
}

std::optional<Json> Checkpoint::FindJsonFile(std::string_view name) const {
  const fs::path path = folder_ / name;
  if (!fs::exists(fs::symlink_status(path))) return std::nullopt;
  return ParseJson(ReadTextFile(path, kMaxConfigBytes), path.string());
}

std::vector<std::string_view> Checkpoint::TensorNames() const {
  std::vector<std::string_view> names;
  names.reserve(tensors_.size());
  for (const auto& [name, tensor] : tensors_) names.push_back(name);
  return names;
}

const Checkpoint::Entry* Checkpoint::FindEntry(std::string_view name) const {
  if (!endings_.contains(EndingOf(name))) return nullptr;
  const auto at = by_name_.find(name);
  return at == by_name_.end() ? nullptr : at->second;
}

const TensorView* Checkpoint::FindTensor(std::string_view name) const {
  const Entry* entry = FindEntry(name);
  return entry == nullptr ? nullptr : &entry->first;
}

const TensorView& Checkpoint::GetTensor(std::string_view name) const {
  const TensorView* tensor = FindTensor(name);
  if (tensor == nullptr) Fail("{}: there is no tensor '{}'", folder_.string(), name);
  return *tensor;
}

TensorPlace Checkpoint::GetPlace(std::string_view name) const {
  const Entry* entry = FindEntry(name);
  if (entry == nullptr) Fail("{}: there is no tensor '{}'", folder_.string(), name);
  return entry->second;
}

ImageRange Checkpoint::RangeOf(const TensorView& tensor) const {
  const TensorPlace place = GetPlace(tensor.name);
  return {&mappings_[place.shard], place.offset_bytes, place.offset_bytes + tensor.bytes.size()};
}

std::string Checkpoint::LayoutSha256() const {
  Sha256 sha;
  std::string bytes;  // of one tensor: the hash is slow at a few bytes a call
  for (const auto& [name, tensor] : tensors_) {
    bytes.clear();
    AddText(bytes, name);
    AddText(bytes, DtypeName(tensor.first.dtype));
    AddNumber(bytes, tensor.first.shape.size());
    for (const std::int64_t extent : tensor.first.shape) {
      AddNumber(bytes, static_cast<std::uint64_t>(extent));
    }
    sha.Add(bytes);
  }
  return Hex(sha.Finish());
}

}  // namespace cacheready
