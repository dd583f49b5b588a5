// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors_header.h"

#include <set>

#include "base/error.h"
#include "fuzz/targets.h"

namespace cacheready {
namespace {

// What readers rely on once a header was accepted.
void CheckHeader(const SafetensorsHeader& header, std::span<const std::byte> file) {
  CR_CHECK(header.data_begin <= file.size(), "data begins past the end");
  std::set<std::string_view> names;
  std::vector<NamedTensor> tensors;
  std::uint64_t covered = 0;
  for (const TensorEntry& tensor : header.tensors) {
    CR_CHECK(names.insert(tensor.name).second, "a name twice");
    CR_CHECK(tensor.begin == covered && tensor.end >= tensor.begin, "a hole or an overlap");
    covered = tensor.end;
    CR_CHECK(covered <= file.size() - header.data_begin, "a tensor past the end");
    tensors.push_back({tensor.name, tensor.dtype, tensor.shape,
                       file.subspan(header.data_begin + tensor.begin, tensor.end - tensor.begin)});
  }
  CR_CHECK(header.data_begin + covered == file.size(), "bytes that no tensor has");

  // Written again and read again, it says the same.
  const std::vector<std::byte> again = SerializeSafetensors(tensors, header.metadata);
  const SafetensorsHeader read = ParseSafetensorsHeader(again, again.size(), "again");
  CR_CHECK(read.metadata == header.metadata, "metadata changed");
  CR_CHECK(read.tensors.size() == tensors.size(), "number of tensors changed");
  for (const TensorEntry& tensor : read.tensors) {
    CR_CHECK(names.contains(tensor.name), "a name changed");
  }
}

}  // namespace

void FuzzSafetensorsHeader(std::span<const std::uint8_t> input) {
  const std::span<const std::byte> file = std::as_bytes(input);
  try {
    CheckHeader(ParseSafetensorsHeader(file, file.size(), "fuzz.safetensors"), file);
  } catch (const Error&) {
  }
}

}  // namespace cacheready
