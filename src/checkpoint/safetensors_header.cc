// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "base/json.h"
#include "checkpoint/plain_json.h"
#include "tensor/tensor_view.h"

namespace cacheready {
namespace {

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the reference's limit
constexpr std::size_t kMaxDepth = 128;
constexpr std::string_view kMetadataKey = "__metadata__";

// Reads the header's JSON event by event: a checkpoint has 10^5 entries and no use for a tree of
// them. PlainJson or nlohmann's parser does the syntax (UTF-8, escapes, numbers, trailing bytes),
// this class the meaning.
class HeaderReader {
 public:
  using number_integer_t = Json::number_integer_t;
  using number_unsigned_t = Json::number_unsigned_t;
  using number_float_t = Json::number_float_t;
  using string_t = Json::string_t;
  using binary_t = Json::binary_t;

  HeaderReader(std::string_view file, SafetensorsHeader& header) : file_(file), header_(header) {}

  bool null() {
    if (at_ == At::kTensors && name_ == kMetadataKey) return true;
    return Scalar("null");
  }
  bool boolean(bool) { return Scalar("a boolean"); }
  bool number_integer(number_integer_t) { return Scalar("a negative number"); }
  bool number_float(number_float_t, const string_t&) {
    return Scalar("a number that is no 64-bit integer");
  }
  bool number_unsigned(number_unsigned_t value) {
    if (at_ == At::kShape) {
      if (value > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
        FailEntry(fmt::format("an extent of {} overflows", value));
      }
      entry_.shape.push_back(static_cast<std::int64_t>(value));
      return true;
    }
    if (at_ == At::kOffsets) {
      if (num_offsets_ == 2) FailEntry("'data_offsets' has more than two numbers");
      (num_offsets_++ == 0 ? entry_.begin : entry_.end) = value;
      return true;
    }
    return Scalar("a number");
  }
  bool string(string_t& value) {
    if (at_ == At::kMetadata) {
      header_.metadata.emplace_back(std::move(name_), std::move(value));
      return true;
    }
    if (at_ == At::kEntry && field_ == "dtype") {
      const std::optional<Dtype> dtype = FindDtype(value);
      if (!dtype) FailEntry(fmt::format("dtype '{}' is not known", value));
      entry_.dtype = *dtype;
      return true;
    }
    return Scalar("a string");
  }
  bool binary(binary_t&) { return false; }

  bool start_object(std::size_t) {
    switch (at_) {
      case At::kTop:
        at_ = At::kTensors;
        return true;
      case At::kTensors:
        return OpenTensorOrMetadata();
      case At::kEntry:
        if (!IsKnownField()) return Ignore();
        break;
      case At::kIgnored:
        return Ignore();
      default:
        break;
    }
    return Scalar("an object");
  }
  bool key(string_t& name) {
    if (at_ == At::kEntry) {
      if (std::find(fields_.begin(), fields_.end(), name) != fields_.end()) {
        FailEntry(fmt::format("field '{}' appears twice", name));
      }
      fields_.push_back(name);
      field_ = std::move(name);
    } else if (at_ != At::kIgnored) {
      name_ = std::move(name);
    }
    return true;
  }
  bool end_object() {
    if (at_ == At::kIgnored) return CloseIgnored();
    if (at_ == At::kEntry) {
      CloseEntry();
      at_ = At::kTensors;
    } else if (at_ == At::kMetadata) {
      at_ = At::kTensors;
    }
    return true;
  }
  bool start_array(std::size_t) {
    if (at_ == At::kIgnored) return Ignore();
    if (at_ == At::kEntry) {
      if (field_ == "shape") {
        at_ = At::kShape;
        return true;
      }
      if (field_ == "data_offsets") {
        at_ = At::kOffsets;
        return true;
      }
      if (!IsKnownField()) return Ignore();
    }
    return Scalar("an array");
  }
  bool end_array() {
    if (at_ == At::kIgnored) return CloseIgnored();
    at_ = At::kEntry;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const Json::exception& error) {
    constexpr std::size_t kMaxReason = 300;  // the reason may quote a token of megabytes
    const std::string reason = error.what();
    Fail("{}: safetensors header is not valid JSON near its byte {}: {}", file_, position,
         reason.substr(0, kMaxReason));
  }

 private:
  enum class At { kTop, kTensors, kMetadata, kEntry, kShape, kOffsets, kIgnored };

  [[noreturn]] void FailEntry(const std::string& reason) const {
    Fail("{}: tensor '{}': {}", file_, name_, reason);
  }

  bool IsKnownField() const {
    return field_ == "dtype" || field_ == "shape" || field_ == "data_offsets";
  }

  // A value that stands where only another kind may; inside an unknown field anything may.
  bool Scalar(std::string_view found) const {
    switch (at_) {
      case At::kTop:
        Fail("{}: safetensors header is {}, expected an object", file_, found);
      case At::kTensors:
        FailEntry(fmt::format("its entry is {}, expected an object", found));
      case At::kMetadata:
        Fail("{}: __metadata__ value '{}' is {}, expected a string", file_, name_, found);
      case At::kShape:
        FailEntry(fmt::format("'shape' holds {}, expected unsigned integers", found));
      case At::kOffsets:
        FailEntry(fmt::format("'data_offsets' holds {}, expected unsigned integers", found));
      case At::kEntry:
        if (IsKnownField()) FailEntry(fmt::format("'{}' is {}", field_, found));
        break;
      case At::kIgnored:
        break;
    }
    return true;
  }

  bool OpenTensorOrMetadata() {
    if (name_ == kMetadataKey) {
      if (has_metadata_) Fail("{}: __metadata__ appears twice", file_);
      has_metadata_ = true;
      at_ = At::kMetadata;
      return true;
    }
    entry_ = TensorEntry();
    fields_.clear();
    num_offsets_ = 0;
    at_ = At::kEntry;
    return true;
  }

  void CloseEntry() {
    for (const std::string_view field : {"dtype", "shape", "data_offsets"}) {
      if (std::find(fields_.begin(), fields_.end(), field) == fields_.end()) {
        FailEntry(fmt::format("field '{}' is missing", field));
      }
    }
    if (num_offsets_ != 2) {
      FailEntry(fmt::format("'data_offsets' has {} numbers, expected two", num_offsets_));
    }
    entry_.name = std::move(name_);
    header_.tensors.push_back(std::move(entry_));
  }

  bool Ignore() {
    at_ = At::kIgnored;
    if (++ignored_depth_ + 2 > kMaxDepth) {
      FailEntry(fmt::format("field '{}' is nested deeper than {}", field_, kMaxDepth));
    }
    return true;
  }
  bool CloseIgnored() {
    if (--ignored_depth_ == 0) at_ = At::kEntry;
    return true;
  }

  std::string_view file_;
  SafetensorsHeader& header_;
  At at_ = At::kTop;
  std::string name_;                 // of the tensor, or the metadata key
  std::string field_;                // of the tensor's entry
  std::vector<std::string> fields_;  // seen in this entry
  TensorEntry entry_;
  int num_offsets_ = 0;
  std::size_t ignored_depth_ = 0;
  bool has_metadata_ = false;
};

void CheckNamesDiffer(const SafetensorsHeader& header, std::string_view file) {
  std::vector<std::string_view> names;
  names.reserve(header.tensors.size());
  for (const TensorEntry& tensor : header.tensors) names.push_back(tensor.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) Fail("{}: tensor '{}' appears twice", file, *twice);

  std::vector<std::string_view> keys;
  for (const auto& [key, value] : header.metadata) keys.push_back(key);
  std::sort(keys.begin(), keys.end());
  const auto repeated = std::adjacent_find(keys.begin(), keys.end());
  if (repeated != keys.end()) Fail("{}: __metadata__ key '{}' appears twice", file, *repeated);
}

// Bytes that dtype and shape ask for.
std::uint64_t ExpectedBytes(const TensorEntry& tensor, std::string_view file) {
  constexpr auto kMaxElements = std::uint64_t{std::numeric_limits<std::int64_t>::max()};
  const auto bits = static_cast<std::uint64_t>(DtypeBits(tensor.dtype));
  std::uint64_t elements = 1;
  for (const std::int64_t extent : tensor.shape) {
    const auto factor = static_cast<std::uint64_t>(extent);
    if (factor != 0 && elements > kMaxElements / factor) {
      Fail("{}: tensor '{}': the size of shape {} overflows", file, tensor.name,
           ShapeText(tensor.shape));
    }
    elements *= factor;
  }
  if (elements > std::numeric_limits<std::uint64_t>::max() / bits) {
    Fail("{}: tensor '{}': the size of {} {} overflows", file, tensor.name, DtypeName(tensor.dtype),
         ShapeText(tensor.shape));
  }
  if (elements * bits % 8 != 0) {
    Fail("{}: tensor '{}': {} {} does not end at a whole byte", file, tensor.name,
         DtypeName(tensor.dtype), ShapeText(tensor.shape));
  }
  return elements * bits / 8;
}

// The data section is covered from its first to its last byte, each byte once.
void CheckOffsets(const SafetensorsHeader& header, std::uint64_t data_bytes,
                  std::string_view file) {
  std::uint64_t covered = 0;
  std::string_view previous = "the header";
  for (const TensorEntry& tensor : header.tensors) {
    if (tensor.end < tensor.begin) {
      Fail("{}: tensor '{}' ends at byte {}, before it begins at {}", file, tensor.name, tensor.end,
           tensor.begin);
    }
    if (tensor.begin > covered) {
      Fail("{}: tensor '{}' begins at byte {}, but '{}' ends at {}: a hole", file, tensor.name,
           tensor.begin, previous, covered);
    }
    if (tensor.begin < covered) {
      Fail("{}: tensor '{}' begins at byte {}, but '{}' ends at {}: they overlap", file,
           tensor.name, tensor.begin, previous, covered);
    }
    const std::uint64_t expected = ExpectedBytes(tensor, file);
    if (tensor.end - tensor.begin != expected) {
      Fail("{}: tensor '{}' has {} bytes, expected {} for {} {}", file, tensor.name,
           tensor.end - tensor.begin, expected, DtypeName(tensor.dtype), ShapeText(tensor.shape));
    }
    covered = tensor.end;
    previous = tensor.name;
  }
  if (covered > data_bytes) {
    Fail("{}: tensor '{}' ends at byte {} of the data, but the file holds only {}; it is truncated",
         file, previous, covered, data_bytes);
  }
  if (covered < data_bytes) {
    Fail("{}: {} bytes follow the last tensor", file, data_bytes - covered);
  }
}

// The bytes of the JSON text; everything about the first 8 bytes is checked.
std::string_view HeaderText(std::span<const std::byte> prefix, std::uint64_t file_size,
                            std::string_view file) {
  const std::string_view text(reinterpret_cast<const char*>(prefix.data()), prefix.size());
  if (text.starts_with("version https://git-lfs")) {
    Fail("{}: is a git-LFS pointer, not the weights; run 'git lfs pull'", file);
  }
  if (file_size < kLengthBytes || prefix.size() < kLengthBytes) {
    Fail("{}: has {} bytes, too few for a safetensors file", file, file_size);
  }
  std::uint64_t length = 0;
  std::memcpy(&length, prefix.data(), sizeof length);
  if (length > kMaxHeaderBytes) {
    Fail("{}: header length is {}, expected at most {}; is it a safetensors file?", file, length,
         kMaxHeaderBytes);
  }
  if (length > file_size - kLengthBytes) {
    Fail("{}: header of {} bytes does not fit into the file's {}; it is truncated", file, length,
         file_size);
  }
  CR_CHECK(length <= prefix.size() - kLengthBytes, "{}: prefix of {} bytes for a header of {}",
           file, prefix.size(), length);
  return text.substr(kLengthBytes, length);
}

}  // namespace

SafetensorsHeader ParseSafetensorsHeader(std::span<const std::byte> prefix, std::uint64_t file_size,
                                         std::string_view file) {
  const std::string_view text = HeaderText(prefix, file_size, file);
  // What nlohmann's parser skips or takes for the end, and JSON does not allow.
  if (text.starts_with("\xEF\xBB\xBF")) {
    Fail("{}: safetensors header starts with a byte order mark", file);
  }
  if (text.find('\0') != std::string_view::npos) {
    Fail("{}: safetensors header holds a zero byte", file);
  }
  SafetensorsHeader header;
  header.data_begin = kLengthBytes + text.size();
  HeaderReader plain(file, header);
  if (!PlainJson(text, plain).Read()) {
    header.tensors.clear();
    header.metadata.clear();
    HeaderReader reader(file, header);
    Json::sax_parse(text.begin(), text.end(), &reader);
  }

  CheckNamesDiffer(header, file);
  std::stable_sort(header.tensors.begin(), header.tensors.end(), [](const auto& a, const auto& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  CheckOffsets(header, file_size - header.data_begin, file);
  return header;
}

std::vector<std::byte> SerializeSafetensors(
    std::span<const NamedTensor> tensors,
    std::span<const std::pair<std::string, std::string>> metadata) {
  // Entries are joined as text: names may be 10^5, and ordered_json searches for each one.
  std::vector<std::string> members;
  if (!metadata.empty()) {
    Json strings = Json::object();
    for (const auto& [key, value] : metadata) strings[key] = value;
    members.push_back("\"__metadata__\":" + strings.dump());
  }
  std::uint64_t offset = 0;
  for (const NamedTensor& tensor : tensors) {
    TensorEntry entry{tensor.name, tensor.dtype, tensor.shape, offset,
                      offset + tensor.bytes.size()};
    CR_CHECK(ExpectedBytes(entry, "new file") == tensor.bytes.size(),
             "tensor '{}' {} {} has {} bytes", tensor.name, DtypeName(tensor.dtype),
             ShapeText(tensor.shape), tensor.bytes.size());
    members.push_back(fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                                  Json(tensor.name).dump(), DtypeName(tensor.dtype),
                                  fmt::join(tensor.shape, ","), entry.begin, entry.end));
    offset = entry.end;
  }
  std::string text = fmt::format("{{{}}}", fmt::join(members, ","));
  text.resize((text.size() + 7) / 8 * 8, ' ');  // as the reference pads

  const std::uint64_t length = text.size();
  std::vector<std::byte> file(kLengthBytes + text.size() + offset);
  std::memcpy(file.data(), &length, sizeof length);
  std::memcpy(file.data() + kLengthBytes, text.data(), text.size());
  std::byte* at = file.data() + kLengthBytes + text.size();
  for (const NamedTensor& tensor : tensors) {
    at = std::copy(tensor.bytes.begin(), tensor.bytes.end(), at);
  }
  return file;
}

}  // namespace cacheready
