// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/error.h"
#include "checkpoint/safetensors_header.h"
#include "text/documents.h"

namespace cacheready {
namespace {

using Rows = std::vector<std::vector<std::int32_t>>;
using testing::HasSubstr;

// A folder of the test's own, removed at its end.
class ReadIdsFileTest : public testing::Test {
 protected:
  ReadIdsFileTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "ids-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~ReadIdsFileTest() override { std::filesystem::remove_all(folder_); }

  Rows Read(const std::string& name, const std::string& bytes) const {
    const std::filesystem::path path = folder_ / name;
    std::ofstream(path, std::ios::binary) << bytes;
    return ReadIdsFile(path);
  }
  std::string RefusalOf(const std::string& name, const std::string& bytes) const {
    try {
      Read(name, bytes);
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(name));
      return error.what();
    }
    return "";
  }
  std::filesystem::path folder_;
};

std::string LittleEndian(std::int64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

std::string Npy(const std::string& header, const std::string& data, int version = 1) {
  const int length_bytes = version == 1 ? 2 : 4;
  return "\x93NUMPY" + std::string{static_cast<char>(version), '\0'} +
         LittleEndian(static_cast<std::int64_t>(header.size()), length_bytes) + header + data;
}

std::string Numbers(const std::vector<std::int64_t>& values, int bytes) {
  std::string out;
  for (const std::int64_t value : values) out += LittleEndian(value, bytes);
  return out;
}

const char* const kPlain = "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }      \n";

TEST_F(ReadIdsFileTest, ReadsJson) {
  EXPECT_EQ(Read("a.json", "[1, 2, 3]"), Rows({{1, 2, 3}}));
  EXPECT_EQ(Read("a.json", "[[1, 2], [2147483647]]\n"), Rows({{1, 2}, {2147483647}}));
}

TEST_F(ReadIdsFileTest, RefusesOtherJson) {
  for (const std::string text :
       {"", "{}", "[]", "[[]]", "[1, [2]]", "[[1], 2]", "[1.5]", "[\"a\"]", "[-1]", "[2147483648]",
        "[18446744073709551615]", "[[1], []]", "7", "[1"}) {
    EXPECT_NE(RefusalOf("a.json", text), "") << text;
  }
}

TEST_F(ReadIdsFileTest, ReadsNpyOfEveryIntegerWidth) {
  EXPECT_EQ(Read("a.npy", Npy(kPlain, Numbers({1, 2, 3}, 8))), Rows({{1, 2, 3}}));
  EXPECT_EQ(Read("a.npy", Npy(kPlain, Numbers({1, 2, 3}, 8), 2)), Rows({{1, 2, 3}}));
  const std::vector<std::pair<std::string, int>> types = {
      {"<i4", 4}, {"<u4", 4}, {"<i2", 2}, {"<u2", 2}, {"|u1", 1}, {"|i1", 1}, {"<u8", 8}};
  for (const auto& [descr, bytes] : types) {
    const std::string header =
        "{\"shape\": (2, 2), 'descr': '" + descr + "', 'fortran_order': False}";
    EXPECT_EQ(Read("a.npy", Npy(header, Numbers({1, 2, 3, 100}, bytes))), Rows({{1, 2}, {3, 100}}))
        << descr;
  }
}

TEST_F(ReadIdsFileTest, SignExtendsOnlySignedTypes) {
  const auto header = [](const std::string& descr) {
    return "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (1,)}";
  };
  EXPECT_EQ(Read("a.npy", Npy(header("<u2"), "\xFF\xFF")), Rows({{65535}}));
  EXPECT_THAT(RefusalOf("a.npy", Npy(header("<i2"), "\xFF\xFF")), HasSubstr("-1 is no token id"));
  EXPECT_THAT(RefusalOf("a.npy", Npy(header("<u8"), std::string(8, '\xFF'))),
              HasSubstr("too large"));
}

TEST_F(ReadIdsFileTest, RefusesBrokenNpyHeaders) {
  const std::string data = Numbers({1, 2, 3}, 8);
  const auto refusal = [&](const std::string& header) {
    return RefusalOf("a.npy", Npy(header, data));
  };
  EXPECT_THAT(refusal("{'descr': '>i8', 'fortran_order': False, 'shape': (3,)}"), HasSubstr(">i8"));
  EXPECT_THAT(refusal("{'descr': '<f8', 'fortran_order': False, 'shape': (3,)}"), HasSubstr("<f8"));
  EXPECT_THAT(refusal("{'descr': '<i3', 'fortran_order': False, 'shape': (3,)}"), HasSubstr("<i3"));
  EXPECT_THAT(refusal("{'descr': '<i8', 'fortran_order': True, 'shape': (3, 1)}"),
              HasSubstr("Fortran"));
  EXPECT_THAT(refusal("{'descr': '<i8', 'fortran_order': False, 'shape': (3, 1, 1)}"),
              HasSubstr("[3, 1, 1]"));
  EXPECT_THAT(refusal("{'descr': '<i8', 'fortran_order': False, 'shape': ()}"), HasSubstr("bytes"));
  EXPECT_THAT(refusal("{'descr': '<i8', 'fortran_order': False}"), HasSubstr("needs descr"));
  for (const std::string header :
       {"", "{", "{}", "[]", "{'descr': '<i8", "{'descr' '<i8'}", "{'descr': [('a', '<i8')]}",
        "{'descr': '<i8', 'descr': '<i8'}", "{'other': '<i8'}",
        "{'descr': '<i8', 'fortran_order': 0, 'shape': (3,)}",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (-3,)}",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (3}",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (3,)} x",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999999999999,)}"}) {
    EXPECT_NE(refusal(header), "") << header;
  }
}

TEST_F(ReadIdsFileTest, RefusesNpyOfTheWrongLength) {
  const std::string whole = Npy(kPlain, Numbers({1, 2, 3}, 8));
  for (std::size_t size = 6; size < whole.size(); ++size) {
    EXPECT_NE(RefusalOf("a.npy", whole.substr(0, size)), "") << size;
  }
  EXPECT_THAT(RefusalOf("a.npy", whole + "x"), HasSubstr("25 bytes of data"));
  EXPECT_THAT(RefusalOf("a.npy", Npy(kPlain, Numbers({1, 2, 3}, 8), 3)), HasSubstr("version 3.0"));
  // A product that overflows 64 bits, and rows of nothing.
  const std::string huge =
      "{'descr': '<i8', 'fortran_order': False, 'shape': (4611686018427387904, 4)}";
  EXPECT_THAT(RefusalOf("a.npy", Npy(huge, "")), HasSubstr("ends before its data"));
  const std::string none =
      "{'descr': '<i8', 'fortran_order': False, 'shape': (4611686018427387904, 0)}";
  EXPECT_NE(RefusalOf("a.npy", Npy(none, "")), "");
}

TEST_F(ReadIdsFileTest, ReadsInputIdsOfSafetensors) {
  const std::string numbers = Numbers({5, 6, 7, 8}, 8);
  const auto file = [&](const std::string& name, std::vector<std::int64_t> shape) {
    const NamedTensor tensor{name, Dtype::kI64, std::move(shape),
                             std::as_bytes(std::span(numbers.data(), numbers.size()))};
    const std::vector<std::byte> bytes = SerializeSafetensors(std::span(&tensor, 1));
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  EXPECT_EQ(Read("a.safetensors", file("input_ids", {2, 2})), Rows({{5, 6}, {7, 8}}));
  EXPECT_EQ(Read("a.safetensors", file("input_ids", {4})), Rows({{5, 6, 7, 8}}));
  EXPECT_THAT(RefusalOf("a.safetensors", file("ids", {4})), HasSubstr("no tensor 'input_ids'"));
  EXPECT_THAT(RefusalOf("a.safetensors", file("input_ids", {4, 1, 1})), HasSubstr("[4, 1, 1]"));
}

TEST_F(ReadIdsFileTest, ReadsTheIdsOfTheGolden) {
  const Rows rows =
      ReadIdsFile(std::string(CACHEREADY_SOURCE_DIR) + "/goldens/reference-fp8/golden.safetensors");
  ASSERT_FALSE(rows.empty());
  std::size_t total = 0;
  for (const auto& row : rows) total += row.size();
  EXPECT_EQ(total, 256u);
}

}  // namespace
}  // namespace cacheready
