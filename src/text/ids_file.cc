// ReadIdsFile of documents.h.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/json.h"
#include "checkpoint/safetensors_header.h"
#include "io/mapped_file.h"
#include "tensor/tensor_view.h"
#include "text/documents.h"
#include "text/npy.h"

namespace cacheready {
namespace {

using Rows = std::vector<std::vector<std::int32_t>>;

std::int32_t ToId(std::int64_t value, std::string_view file) {
  if (value < 0 || value > std::numeric_limits<std::int32_t>::max()) {
    Fail("{}: {} is no token id (an integer from 0 to 2147483647)", file, value);
  }
  return static_cast<std::int32_t>(value);
}

// [tokens] is one row, [rows, tokens] as many.
Rows ToRows(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& values,
            std::string_view file) {
  if (shape.size() != 1 && shape.size() != 2) {
    Fail("{}: token ids have shape {}, expected [tokens] or [rows, tokens]", file,
         ShapeText(shape));
  }
  const auto width = static_cast<std::size_t>(shape.back());
  const std::size_t num_rows = shape.size() == 1 ? 1 : static_cast<std::size_t>(shape.front());
  if (width == 0 || num_rows == 0)
    Fail("{}: holds no token ids (shape {})", file, ShapeText(shape));
  Rows rows(num_rows);
  for (std::size_t i = 0; i < values.size(); ++i) rows[i / width].push_back(ToId(values[i], file));
  return rows;
}

std::vector<std::int32_t> ReadRow(const Json& array, std::string_view file) {
  std::vector<std::int32_t> row;
  for (const Json& id : array) {
    if (!id.is_number_integer() ||
        (id.is_number_unsigned() && id.get<std::uint64_t>() > std::uint64_t{INT32_MAX})) {
      Fail("{}: element {} is no token id (an integer from 0 to 2147483647)", file, row.size());
    }
    row.push_back(ToId(id.get<std::int64_t>(), file));
  }
  if (row.empty()) Fail("{}: an empty list of token ids", file);
  return row;
}

Rows ReadJsonIds(std::string_view text, std::string_view file) {
  const Json json = ParseJson(text, file);
  if (!json.is_array() || json.empty()) {
    Fail("{}: expected token ids as [1, 2, ..] or [[1, 2, ..], ..]", file);
  }
  if (!json.front().is_array()) return {ReadRow(json, file)};
  Rows rows;
  for (const Json& row : json) {
    if (!row.is_array()) Fail("{}: element {} is not a list, the first is", file, rows.size());
    rows.push_back(ReadRow(row, file));
  }
  return rows;
}

Rows ReadSafetensorsIds(std::span<const std::byte> bytes, std::string_view file) {
  const SafetensorsHeader header = ParseSafetensorsHeader(bytes, bytes.size(), file);
  const auto found = std::find_if(header.tensors.begin(), header.tensors.end(),
                                  [](const TensorEntry& t) { return t.name == "input_ids"; });
  if (found == header.tensors.end()) Fail("{}: has no tensor 'input_ids'", file);
  const auto begin = static_cast<std::size_t>(header.data_begin + found->begin);
  const auto size = static_cast<std::size_t>(found->end - found->begin);
  const TensorView view{found->name, found->dtype, found->shape, bytes.subspan(begin, size), file};
  return ToRows(found->shape, ReadInts(view), file);
}

}  // namespace

Rows ReadIdsFile(const std::filesystem::path& path) {
  const MappedFile mapped(path);
  const std::span<const std::byte> bytes = mapped.bytes();
  const std::string file = path.string();
  if (IsNpy(bytes)) {
    const NpyIntegers array = ParseNpy(bytes, file);
    return ToRows(array.shape, array.values, file);
  }
  if (path.extension() == ".safetensors") return ReadSafetensorsIds(bytes, file);
  return ReadJsonIds({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file);
}

}  // namespace cacheready
