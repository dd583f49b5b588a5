// SPDX-License-Identifier: Apache-2.0
#include "text/npy.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <string>

#include "base/error.h"

namespace cacheready {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";

std::string_view AsText(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct Header {
  std::optional<std::string> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<std::int64_t>> shape;
};

// Reads the header, which is a Python dict literal:
// {'descr': '<i8', 'fortran_order': False, 'shape': (2, 3), }
class HeaderReader {
 public:
  HeaderReader(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  Header Read() {
    Header header;
    Expect('{');
    while (!Take('}')) {
      const std::string key = ReadString();
      Expect(':');
      if (key == "descr" && !header.descr) {
        header.descr = ReadString();
      } else if (key == "fortran_order" && !header.fortran_order) {
        header.fortran_order = ReadBool();
      } else if (key == "shape" && !header.shape) {
        header.shape = ReadShape();
      } else {
        Fail("{}: .npy header has an unexpected or repeated key '{}'", file_, key.substr(0, 80));
      }
      if (!Take(',')) {
        Expect('}');
        break;
      }
    }
    SkipSpace();
    if (at_ != text_.size()) FailHere("the end of the header");
    if (!header.descr || !header.fortran_order || !header.shape) {
      Fail("{}: .npy header needs descr, fortran_order and shape", file_);
    }
    return header;
  }

 private:
  [[noreturn]] void FailHere(std::string_view expected) const {
    Fail("{}: .npy header: expected {} at character {}", file_, expected, at_);
  }

  void SkipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }

  bool Take(char c) {
    SkipSpace();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  void Expect(char c) {
    if (!Take(c)) FailHere(std::string_view(&c, 1));
  }

  bool TakeWord(std::string_view word) {
    SkipSpace();
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  std::string ReadString() {
    SkipSpace();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '\'' && quote != '"') FailHere("a quoted string");
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) FailHere("a closed string");
    const std::string_view value = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return std::string(value);
  }

  bool ReadBool() {
    if (TakeWord("True")) return true;
    if (TakeWord("False")) return false;
    FailHere("True or False");
  }

  std::vector<std::int64_t> ReadShape() {
    std::vector<std::int64_t> shape;
    Expect('(');
    while (!Take(')')) {
      SkipSpace();
      std::int64_t size = 0;
      const char* begin = text_.data() + at_;
      const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), size);
      if (error != std::errc() || size < 0) FailHere("a size");
      at_ += static_cast<std::size_t>(end - begin);
      shape.push_back(size);
      if (!Take(',')) {
        Expect(')');
        break;
      }
    }
    return shape;
  }

  std::string_view text_;
  std::string_view file_;
  std::size_t at_ = 0;
};

std::uint64_t ReadLittleEndian(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    value |= std::uint64_t{std::to_integer<std::uint8_t>(bytes[i])} << (8 * i);
  }
  return value;
}

struct IntegerType {
  bool is_signed = false;
  std::size_t size_bytes = 0;
};

IntegerType ParseDescr(const std::string& descr, std::string_view file) {
  const bool order = descr.size() == 3 && (descr[0] == '<' || (descr[0] == '|' && descr[2] == '1'));
  const bool kind = order && (descr[1] == 'i' || descr[1] == 'u');
  if (!kind || std::string_view("1248").find(descr[2]) == std::string_view::npos) {
    Fail(
        "{}: .npy dtype '{}' is not supported, expected little-endian integers such as '<i8'; save "
        "with array.astype('<i8')",
        file, descr.substr(0, 80));
  }
  return {descr[1] == 'i', static_cast<std::size_t>(descr[2] - '0')};
}

std::int64_t ReadInteger(std::span<const std::byte> bytes, const IntegerType& type,
                         std::string_view file) {
  std::uint64_t value = ReadLittleEndian(bytes);
  const std::size_t bits = 8 * bytes.size();
  if (type.is_signed) {
    if (bits < 64 && ((value >> (bits - 1)) & 1) != 0) value |= ~std::uint64_t{0} << bits;
  } else if (value > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
    Fail("{}: .npy holds {}, which is too large", file, value);
  }
  return static_cast<std::int64_t>(value);
}

// Of the data section: magic, two version bytes, the header's length (2 or 4 bytes), the header.
std::size_t DataBegin(std::span<const std::byte> bytes, std::string_view file,
                      std::string_view& header) {
  if (bytes.size() < 10) Fail("{}: .npy ends after {} bytes", file, bytes.size());
  const int version = std::to_integer<int>(bytes[6]);
  if ((version != 1 && version != 2) || bytes[7] != std::byte{0}) {
    Fail("{}: .npy version {}.{} is not supported (supported: 1.0 and 2.0)", file, version,
         std::to_integer<int>(bytes[7]));
  }
  const std::size_t length_bytes = version == 1 ? 2 : 4;
  const std::size_t header_begin = 8 + length_bytes;
  if (bytes.size() < header_begin) Fail("{}: .npy ends after {} bytes", file, bytes.size());
  const std::uint64_t length = ReadLittleEndian(bytes.subspan(8, length_bytes));
  if (length > bytes.size() - header_begin) {
    Fail("{}: .npy header of {} bytes is longer than the file ({} bytes)", file, length,
         bytes.size());
  }
  header = AsText(bytes.subspan(header_begin, static_cast<std::size_t>(length)));
  return header_begin + static_cast<std::size_t>(length);
}

}  // namespace

bool IsNpy(std::span<const std::byte> bytes) { return AsText(bytes).starts_with(kMagic); }

NpyIntegers ParseNpy(std::span<const std::byte> bytes, std::string_view file) {
  if (!IsNpy(bytes)) Fail("{}: is no .npy file (its magic is missing)", file);
  std::string_view header_text;
  const std::size_t data_begin = DataBegin(bytes, file, header_text);
  Header header = HeaderReader(header_text, file).Read();
  const IntegerType type = ParseDescr(*header.descr, file);
  if (*header.fortran_order && header.shape->size() > 1) {
    Fail("{}: .npy is in Fortran order; save with numpy.ascontiguousarray", file);
  }
  const std::span<const std::byte> data = bytes.subspan(data_begin);
  std::uint64_t left = data.size() / type.size_bytes;  // elements the file has room for
  std::uint64_t count = 1;
  for (const std::int64_t size : *header.shape) {
    if (size != 0 && count > left / static_cast<std::uint64_t>(size)) {
      Fail("{}: .npy ends before its data: {} bytes for a shape of more than {} elements", file,
           data.size(), left);
    }
    count *= static_cast<std::uint64_t>(size);
  }
  if (count * type.size_bytes != data.size()) {
    Fail("{}: .npy has {} bytes of data, its shape and dtype need {}", file, data.size(),
         count * type.size_bytes);
  }
  NpyIntegers out{std::move(*header.shape), {}};
  out.values.reserve(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < count; ++i) {
    out.values.push_back(
        ReadInteger(data.subspan(i * type.size_bytes, type.size_bytes), type, file));
  }
  return out;
}

}  // namespace cacheready
