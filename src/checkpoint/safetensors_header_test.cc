// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "base/json.h"

namespace cacheready {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

// Length, header text, and `data_bytes` of data.
std::string MakeFile(std::string_view header, std::size_t data_bytes) {
  std::string file(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(file.data(), &length, sizeof length);
  return file + std::string(header) + std::string(data_bytes, 'd');
}

SafetensorsHeader Parse(std::string_view file) {
  return ParseSafetensorsHeader(std::as_bytes(std::span(file.data(), file.size())), file.size(),
                                "bad.safetensors");
}

std::string ErrorOf(std::string_view file) {
  try {
    Parse(file);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string ErrorOf(std::string_view header, std::size_t data_bytes) {
  return ErrorOf(MakeFile(header, data_bytes));
}

// Every message names the file and the reason.
#define EXPECT_REFUSED(error, reason) \
  EXPECT_THAT(error, AllOf(HasSubstr("bad.safetensors: "), HasSubstr(reason)))

constexpr std::string_view kOne = R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";

TEST(SafetensorsHeader, ReadsTensorsInTheOrderOfTheirBytes) {
  const std::string file = MakeFile(
      R"({"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},
          "a":{"shape":[],"data_offsets":[0,4],"dtype":"F32"},
          "__metadata__":{"z":"1","format":"pt"}})",
      16);
  const SafetensorsHeader header = Parse(file);
  EXPECT_EQ(header.data_begin, file.size() - 16);
  ASSERT_EQ(header.tensors.size(), 2u);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(header.tensors[0].dtype, Dtype::kF32);
  EXPECT_TRUE(header.tensors[0].shape.empty());
  EXPECT_EQ(header.tensors[1].name, "b");
  EXPECT_EQ(header.tensors[1].dtype, Dtype::kBF16);
  EXPECT_THAT(header.tensors[1].shape, ElementsAre(2, 3));
  EXPECT_EQ(header.tensors[1].begin, 4u);
  EXPECT_EQ(header.tensors[1].end, 16u);
  EXPECT_THAT(header.metadata, ElementsAre(Pair("z", "1"), Pair("format", "pt")));
}

TEST(SafetensorsHeader, NeedsNoMoreThanTheHeaderItself) {
  const std::string file = MakeFile(kOne, 4);
  const auto bytes = std::as_bytes(std::span(file.data(), file.size() - 4));
  EXPECT_EQ(ParseSafetensorsHeader(bytes, file.size(), "f").tensors.size(), 1u);
}

TEST(SafetensorsHeader, AcceptsWhatTheReferenceAccepts) {
  const std::pair<std::string, std::size_t> accepted[] = {
      {"{}", 0},
      {" \t\r\n" + std::string(kOne) + "  \n", 4},  // padding on either side
      {R"({"__metadata__":null})", 0},
      {R"({"__metadata__":{}})", 0},
      {R"({"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1},  // an empty name
      {R"({"t":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]}})", 0},
      {R"({"s":{"dtype":"F64","shape":[],"data_offsets":[0,8]}})", 8},
      {R"({"t":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}})", 1},
      {R"({"t":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]}})", 3},
      // Unknown fields of an entry, whatever they hold.
      {R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":{"dtype":[1,{"y":null}]}}})", 1},
      {R"({"t":{"x":[[-1],1.5,"s",true],"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1},
      // A tensor that starts at no multiple of its element size.
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
           "b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})",
       5},
  };
  for (const auto& [header, bytes] : accepted) EXPECT_EQ(ErrorOf(header, bytes), "no error");
}

TEST(SafetensorsHeader, KeepsTensorsOfNoBytesBesideTheirNeighbours) {
  const SafetensorsHeader header = Parse(MakeFile(
      R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},
          "z":{"dtype":"U8","shape":[0],"data_offsets":[2,2]},
          "y":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},
          "b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
      3));
  std::vector<std::string> names;
  for (const TensorEntry& tensor : header.tensors) names.push_back(tensor.name);
  EXPECT_THAT(names, ElementsAre("y", "a", "z", "b"));
}

TEST(SafetensorsHeader, RefusesAFileTooShortForALength) {
  EXPECT_REFUSED(ErrorOf(""), "has 0 bytes, too few");
  EXPECT_REFUSED(ErrorOf("1234567"), "has 7 bytes, too few");
}

TEST(SafetensorsHeader, RefusesAHeaderLongerThanTheFileOrTheLimit) {
  EXPECT_REFUSED(ErrorOf(MakeFile(kOne, 0).substr(0, 20)), "truncated");
  EXPECT_REFUSED(ErrorOf(std::string(8, '\xFF')), "expected at most 100000000");
  std::string file = MakeFile(kOne, 4);
  const std::uint64_t length = 100'000'001;
  std::memcpy(file.data(), &length, sizeof length);
  EXPECT_REFUSED(ErrorOf(file), "header length is 100000001");
  const std::uint64_t longest = 100'000'000;
  std::memcpy(file.data(), &longest, sizeof longest);
  EXPECT_REFUSED(ErrorOf(file), "truncated");
}

TEST(SafetensorsHeader, RefusesAGitLfsPointer) {
  EXPECT_REFUSED(ErrorOf("version https://git-lfs.github.com/spec/v1\n"
                         "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e23"
                         "93\nsize 12345\n"),
                 "git lfs pull");
}

TEST(SafetensorsHeader, RefusesWhatIsNoJsonObject) {
  for (const std::string_view header : {"[]", "7", "\"x\"", "null", "true", "-1", "1.5"}) {
    EXPECT_REFUSED(ErrorOf(header, 0), "expected an object");
  }
}

TEST(SafetensorsHeader, RefusesInvalidJson) {
  for (const std::string_view header :
       {"", "   ", "{", "{}}", "{} x", "{}{}", "{\"t\"}", "{\"__metadata__\":{},}", "{'t':{}}",
        R"({"t":{"dtype":"U8","shape":[01],"data_offsets":[0,1]}})",
        R"({"t":{"dtype":"U8","shape":[1,],"data_offsets":[0,1]}})",
        R"({"\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
        "{\"a\xFF\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
        "{\"\xED\xA0\x80\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
        "{\"a\nb\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}"}) {
    EXPECT_REFUSED(ErrorOf(header, 1), "not valid JSON");
  }
}

TEST(SafetensorsHeader, RefusesWhatOnlyLenientReadersTakeForJson) {
  for (const std::string_view header :
       {"\f{}", "{}\v", "{}\xC2\xA0", "/**/{}", "{}//", "{\"__metadata__\":{}} ,",
        R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":NaN}})",
        R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":Infinity}})",
        R"({"t":{"dtype":"U8","shape":[+1],"data_offsets":[0,1]}})",
        R"({"t":{"dtype":"U8","shape":[0x1],"data_offsets":[0,1]}})",
        "{\"__metadata__\":{\"a\":\"\xC0\xAF\"}}"}) {
    EXPECT_NE(ErrorOf(header, 1), "no error") << header;
    EXPECT_THAT(ErrorOf(header, 1), testing::Not(HasSubstr("follow the last tensor"))) << header;
  }
}

TEST(SafetensorsHeader, RefusesAByteOrderMarkAndZeroBytes) {
  EXPECT_REFUSED(ErrorOf("\xEF\xBB\xBF{}", 0), "byte order mark");
  EXPECT_REFUSED(ErrorOf(std::string_view("{}\0", 3), 0), "zero byte");
  EXPECT_REFUSED(ErrorOf(std::string_view("{}\0\0\0\0\0\0", 8), 0), "zero byte");
}

TEST(SafetensorsHeader, RefusesNestingDeeperThan128) {
  const auto nested = [](std::size_t depth) {
    return fmt::format(R"({{"t":{{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":{}{}}}}})",
                       std::string(depth, '['), std::string(depth, ']'));
  };
  EXPECT_EQ(ErrorOf(nested(126), 1), "no error");  // the header and the entry are two levels
  EXPECT_REFUSED(ErrorOf(nested(127), 1), "nested deeper than 128");
  EXPECT_REFUSED(ErrorOf(std::string(100'000, '['), 0), "expected an object");
}

TEST(SafetensorsHeader, RefusesATensorNameThatAppearsTwice) {
  constexpr std::string_view kTwice =
      R"({{"{}":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}},
          "{}":{{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}}})";
  EXPECT_REFUSED(ErrorOf(fmt::format(fmt::runtime(kTwice), "gate", "gate"), 2),
                 "tensor 'gate' appears twice");
  // The reference sees these as one name, too, and lets the last win.
  EXPECT_REFUSED(ErrorOf(fmt::format(fmt::runtime(kTwice), "gate", R"(\u0067ate)"), 2),
                 "tensor 'gate' appears twice");
  EXPECT_REFUSED(ErrorOf(fmt::format(fmt::runtime(kTwice), "", ""), 2), "tensor '' appears twice");
}

TEST(SafetensorsHeader, RefusesRepeatedMetadata) {
  EXPECT_REFUSED(ErrorOf(R"({"__metadata__":{},"__metadata__":{}})", 0),
                 "__metadata__ appears twice");
  EXPECT_REFUSED(ErrorOf(R"({"__metadata__":{},"__metadata\u005f_":{}})", 0),
                 "__metadata__ appears twice");
  EXPECT_REFUSED(ErrorOf(R"({"__metadata__":{"a":"1","a":"2"}})", 0), "key 'a' appears twice");
  EXPECT_REFUSED(ErrorOf(R"({"__metadata__":{"a":"1","\u0061":"2"}})", 0), "key 'a' appears twice");
}

TEST(SafetensorsHeader, RefusesMetadataThatIsNoMapOfStrings) {
  for (const std::string_view value : {"1", "-1", "1.5", "true", "null", "[]", "{}"}) {
    EXPECT_REFUSED(ErrorOf(fmt::format(R"({{"__metadata__":{{"a":{}}}}})", value), 0),
                   "__metadata__ value 'a'");
  }
  for (const std::string_view value : {"1", "true", "[]", "\"x\""}) {
    EXPECT_REFUSED(ErrorOf(fmt::format(R"({{"__metadata__":{}}})", value), 0), "__metadata__");
  }
}

TEST(SafetensorsHeader, RefusesAnEntryThatIsNoObject) {
  EXPECT_REFUSED(ErrorOf(R"({"t":["F32",[1],[0,4]]})", 4), "its entry is an array");
  EXPECT_REFUSED(ErrorOf(R"({"t":null})", 0), "its entry is null");
  EXPECT_REFUSED(ErrorOf(R"({"t":"F32"})", 0), "its entry is a string");
  EXPECT_REFUSED(ErrorOf(R"({"t":4})", 0), "its entry is a number");
}

TEST(SafetensorsHeader, RefusesMissingAndRepeatedFields) {
  EXPECT_REFUSED(ErrorOf(R"({"t":{"shape":[1],"data_offsets":[0,1]}})", 1),
                 "tensor 't': field 'dtype' is missing");
  EXPECT_REFUSED(ErrorOf(R"({"t":{"dtype":"U8","data_offsets":[0,1]}})", 1),
                 "field 'shape' is missing");
  EXPECT_REFUSED(ErrorOf(R"({"t":{"dtype":"U8","shape":[1]}})", 1),
                 "field 'data_offsets' is missing");
  for (const std::string_view field :
       {R"("dtype":"U8")", R"("shape":[1])", R"("data_offsets":[0,1])", R"("sh\u0061pe":[1])"}) {
    EXPECT_REFUSED(
        ErrorOf(
            fmt::format(R"({{"t":{{"dtype":"U8","shape":[1],"data_offsets":[0,1],{}}}}})", field),
            1),
        "appears twice");
  }
}

TEST(SafetensorsHeader, RefusesAnUnknownDtype) {
  for (const std::string_view dtype :
       {R"("f32")", R"("F31")", R"("")", R"({"F32":null})", R"(["F32"])", "32", "null", "true"}) {
    EXPECT_REFUSED(
        ErrorOf(fmt::format(R"({{"t":{{"dtype":{},"shape":[1],"data_offsets":[0,4]}}}})", dtype),
                4),
        "dtype");
  }
}

TEST(SafetensorsHeader, RefusesAShapeThatIsNoListOfUnsignedIntegers) {
  for (const std::string_view shape :
       {"[1.0]", "[1e0]", "[-1]", "[-0]", "[\"1\"]", "[null]", "[true]", "[[1]]", "[{}]", "1",
        "null", "{}", "\"1\"", "[18446744073709551616]", "[9223372036854775808]"}) {
    EXPECT_REFUSED(
        ErrorOf(fmt::format(R"({{"t":{{"dtype":"U8","shape":{},"data_offsets":[0,1]}}}})", shape),
                1),
        "tensor 't'");
  }
}

TEST(SafetensorsHeader, RefusesOffsetsThatAreNoPairOfUnsignedIntegers) {
  for (const std::string_view offsets :
       {"[]", "[0]", "[0,1,1]", "[0,1.0]", "[0,-1]", "[0,\"1\"]", "[0,null]", "[0,[1]]", "null",
        "1", "{}", "[0,18446744073709551616]"}) {
    EXPECT_REFUSED(
        ErrorOf(fmt::format(R"({{"t":{{"dtype":"U8","shape":[1],"data_offsets":{}}}}})", offsets),
                1),
        "'data_offsets'");
  }
}

TEST(SafetensorsHeader, RefusesASizeThatOverflows) {
  EXPECT_REFUSED(ErrorOf(R"({"t":{"dtype":"U8","shape":[4294967296,4294967296],)"
                         R"("data_offsets":[0,0]}})",
                         0),
                 "overflows");
  EXPECT_REFUSED(ErrorOf(R"({"t":{"dtype":"F64","shape":[4611686018427387904],)"
                         R"("data_offsets":[0,0]}})",
                         0),
                 "overflows");
  // The zero comes too late to save the product, in the reference as well.
  EXPECT_REFUSED(ErrorOf(R"({"t":{"dtype":"U8","shape":[4294967296,4294967296,0],)"
                         R"("data_offsets":[0,0]}})",
                         0),
                 "overflows");
}

TEST(SafetensorsHeader, RefusesABitCountThatIsNoByteCount) {
  EXPECT_REFUSED(ErrorOf(R"({"t":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", 2),
                 "whole byte");
  EXPECT_REFUSED(ErrorOf(R"({"t":{"dtype":"F6_E3M2","shape":[2],"data_offsets":[0,2]}})", 2),
                 "whole byte");
}

TEST(SafetensorsHeader, RefusesBytesThatDisagreeWithTheShape) {
  EXPECT_REFUSED(ErrorOf(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4),
                 "has 4 bytes, expected 8 for F32 [2]");
  EXPECT_REFUSED(ErrorOf(R"({"t":{"dtype":"F32","shape":[],"data_offsets":[0,0]}})", 0),
                 "has 0 bytes, expected 4");
  EXPECT_REFUSED(ErrorOf(R"({"t":{"dtype":"F32","shape":[0],"data_offsets":[0,4]}})", 4),
                 "has 4 bytes, expected 0");
}

TEST(SafetensorsHeader, RefusesHolesOverlapsAndOffsetsInReverse) {
  constexpr std::string_view kTwo =
      R"({{"a":{{"dtype":"U8","shape":[4],"data_offsets":[{},{}]}},
          "b":{{"dtype":"U8","shape":[4],"data_offsets":[{},{}]}}}})";
  const auto two = [&](int a, int b, int c, int d) {
    return ErrorOf(fmt::format(fmt::runtime(kTwo), a, b, c, d), 8);
  };
  EXPECT_EQ(two(4, 8, 0, 4), "no error");
  EXPECT_REFUSED(two(0, 4, 5, 9), "tensor 'b' begins at byte 5, but 'a' ends at 4: a hole");
  EXPECT_REFUSED(two(1, 5, 5, 9), "tensor 'a' begins at byte 1, but 'the header' ends at 0");
  EXPECT_REFUSED(ErrorOf(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
                             "z":{"dtype":"U8","shape":[0],"data_offsets":[5,5]}})",
                         5),
                 "a hole");
  EXPECT_REFUSED(ErrorOf(R"({"z":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}})", 1), "a hole");
  EXPECT_REFUSED(two(0, 4, 3, 7), "tensor 'b' begins at byte 3, but 'a' ends at 4: they overlap");
  EXPECT_REFUSED(two(0, 4, 0, 4), "they overlap");
  EXPECT_REFUSED(two(4, 0, 4, 8), "before it begins");
}

TEST(SafetensorsHeader, RefusesTruncationAndTrailingBytes) {
  EXPECT_REFUSED(ErrorOf(kOne, 3), "ends at byte 4 of the data, but the file holds only 3");
  EXPECT_REFUSED(ErrorOf(kOne, 5), "1 bytes follow the last tensor");
  EXPECT_REFUSED(ErrorOf("{}", 1), "1 bytes follow the last tensor");
  EXPECT_REFUSED(ErrorOf(R"({"t":{"dtype":"U8","shape":[9223372036854775807],)"
                         R"("data_offsets":[0,9223372036854775807]}})",
                         1),
                 "overflows");
}

TEST(SafetensorsHeader, MessagesStayShortWhenTheHeaderIsNot) {
  const std::string header = "{\"" + std::string(1'000'000, 'x') + "\n";
  EXPECT_LT(ErrorOf(header, 0).size(), 600u);
}

// Cut anywhere, or with any one byte changed, a file is refused or read, never anything else.
TEST(SafetensorsHeader, SurvivesEveryCutAndEveryChangedByte) {
  const std::string file = MakeFile(
      R"({"__metadata__":{"a":"b"},"t":{"dtype":"F4","shape":[2,1],"data_offsets":[0,1]}})", 1);
  for (std::size_t size = 0; size < file.size(); ++size) {
    EXPECT_NE(ErrorOf(file.substr(0, size)), "no error") << size;
  }
  for (std::size_t i = 0; i < file.size(); ++i) {
    for (int value = 0; value < 256; ++value) {
      std::string changed = file;
      changed[i] = static_cast<char>(value);
      ErrorOf(changed);
    }
  }
}

TEST(SerializeSafetensors, WritesTheLayoutOfTheReference) {
  const std::string data = "abcdef";
  const auto bytes = std::as_bytes(std::span(data.data(), data.size()));
  const NamedTensor tensors[] = {{"w", Dtype::kBF16, {2}, bytes.subspan(0, 4)},
                                 {"u\"\n", Dtype::kU8, {2, 1}, bytes.subspan(4)}};
  const std::pair<std::string, std::string> metadata[] = {{"format", "pt"}};
  const std::vector<std::byte> file = SerializeSafetensors(tensors, metadata);
  std::string expected_header =
      R"({"__metadata__":{"format":"pt"},"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},)"
      R"("u\"\n":{"dtype":"U8","shape":[2,1],"data_offsets":[4,6]}})";
  expected_header.resize((expected_header.size() + 7) / 8 * 8, ' ');
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(file.data()), file.size()),
            MakeFile(expected_header, 0) + "abcdef");
}

TEST(SerializeSafetensors, ReadsBackAsItWasGiven) {
  const std::vector<std::byte> data(12, std::byte{7});
  const NamedTensor tensors[] = {{"b", Dtype::kF32, {}, std::span(data).subspan(0, 4)},
                                 {"a", Dtype::kI16, {0, 3}, {}},
                                 {"c", Dtype::kF64, {1}, std::span(data).subspan(4)}};
  const std::vector<std::byte> file = SerializeSafetensors(tensors);
  const SafetensorsHeader header = ParseSafetensorsHeader(file, file.size(), "f");
  EXPECT_EQ(header.data_begin % 8, 0u);
  ASSERT_EQ(header.tensors.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(header.tensors[i].name, tensors[i].name);
    EXPECT_EQ(header.tensors[i].dtype, tensors[i].dtype);
    EXPECT_EQ(header.tensors[i].shape, tensors[i].shape);
  }
  const std::vector<std::byte> empty = SerializeSafetensors({});
  EXPECT_TRUE(ParseSafetensorsHeader(empty, empty.size(), "f").tensors.empty());
}

}  // namespace
}  // namespace cacheready
