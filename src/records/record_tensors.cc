// SPDX-License-Identifier: Apache-2.0
#include "records/record_tensors.h"

#include <algorithm>
#include <cstdint>

#include "io/publish.h"

namespace cacheready {
namespace {

constexpr std::string_view kMetadataKey = "record";

}  // namespace

void RecordTensors::AddBytes(std::string name, Dtype dtype, std::vector<std::int64_t> shape,
                             std::span<const std::byte> bytes) {
  std::uint64_t elements = 1;
  for (const std::int64_t extent : shape) elements *= static_cast<std::uint64_t>(extent);
  CR_CHECK(elements * static_cast<std::uint64_t>(DtypeBits(dtype)) == bytes.size() * 8,
           "record tensor '{}' {} has {} bytes", name, ShapeText(shape), bytes.size());
  tensors_.push_back({std::move(name), dtype, std::move(shape), bytes});
}

void RecordTensors::Publish(const std::filesystem::path& path, const std::string& metadata) const {
  const std::pair<std::string, std::string> entry{std::string(kMetadataKey), metadata};
  const std::vector<std::byte> bytes = SerializeSafetensors(tensors_, std::span(&entry, 1));
  PublishFile(path, bytes);
}

RecordFile::RecordFile(const std::filesystem::path& path)
    : file_(path),
      name_(path.string()),
      header_(ParseSafetensorsHeader(file_.bytes(), file_.bytes().size(), name_)) {
  const auto found = std::find_if(header_.metadata.begin(), header_.metadata.end(),
                                  [](const auto& entry) { return entry.first == kMetadataKey; });
  if (found == header_.metadata.end()) {
    Fail("{}: has no '{}' metadata: this is no record of a scan", name_, kMetadataKey);
  }
  metadata_ = found->second;
}

const TensorEntry& RecordFile::Entry(std::string_view tensor) const {
  const auto found = std::find_if(header_.tensors.begin(), header_.tensors.end(),
                                  [&](const TensorEntry& entry) { return entry.name == tensor; });
  if (found == header_.tensors.end()) Fail("{}: tensor '{}' is missing", name_, tensor);
  return *found;
}

std::vector<std::int64_t> RecordFile::ShapeOf(std::string_view tensor) const {
  return Entry(tensor).shape;
}

std::span<const std::byte> RecordFile::GetBytes(std::string_view tensor, Dtype dtype,
                                                std::vector<std::int64_t> shape) const {
  const TensorEntry& entry = Entry(tensor);
  bool fits = entry.dtype == dtype && entry.shape.size() == shape.size();
  for (std::size_t d = 0; fits && d < shape.size(); ++d) {
    fits = shape[d] == -1 || shape[d] == entry.shape[d];
  }
  if (!fits) {
    Fail("{}: tensor '{}' is {} {}, expected {} {}", name_, tensor, DtypeName(entry.dtype),
         ShapeText(entry.shape), DtypeName(dtype), ShapeText(shape));
  }
  return file_.bytes().subspan(static_cast<std::size_t>(header_.data_begin + entry.begin),
                               static_cast<std::size_t>(entry.end - entry.begin));
}

}  // namespace cacheready
