// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/shard_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace cacheready {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

std::string RefusalOf(std::string_view text) {
  try {
    ParseShardIndex(text, "index.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

#define EXPECT_INDEX_REFUSED(error, reason) \
  EXPECT_THAT(error, AllOf(HasSubstr("index.json: "), HasSubstr(reason)))

TEST(ShardIndex, ReadsTensorsAndFilesSorted) {
  const ShardIndex index = ParseShardIndex(
      R"({"metadata": {"total_size": 12, "total_parameters": 6},
          "weight_map": {"b": "2.safetensors", "a": "1.safetensors", "c": "1.safetensors"}})",
      "index.json");
  EXPECT_THAT(index.file_of_tensor,
              ElementsAre(Pair("a", "1.safetensors"), Pair("b", "2.safetensors"),
                          Pair("c", "1.safetensors")));
  EXPECT_THAT(index.files, ElementsAre("1.safetensors", "2.safetensors"));
  EXPECT_EQ(index.total_size, 12u);
  EXPECT_THAT(index.warnings, IsEmpty());
}

// A common index is read without a tree of it: others must give the same, and the same errors.
TEST(ShardIndex, ReadsOtherShapesAlike) {
  for (const std::string_view extra : {R"("x": 1, )", R"("x": {"y": [1, {"metadata": 2}]}, )",
                                       R"("x": [], "y": "weight_map", )"}) {
    const ShardIndex index =
        ParseShardIndex(fmt::format(R"({{{}"metadata": {{"a": "b", "total_size": 12}},
            "weight_map": {{"b\u002ec": "2.safetensors", "a": "1.safetensors"}}}})",
                                    extra),
                        "index.json");
    EXPECT_THAT(index.file_of_tensor,
                ElementsAre(Pair("a", "1.safetensors"), Pair("b.c", "2.safetensors")));
    EXPECT_EQ(index.total_size, 12u);
  }
  const auto refused = [](std::string_view metadata, std::string_view map, std::string_view end) {
    return RefusalOf(
        fmt::format(R"({{"metadata": {{{}}}, "weight_map": {{{}}}}}{})", metadata, map, end));
  };
  const char* const size = R"("total_size": 12)";
  const char* const map = R"("a": "1.safetensors")";
  EXPECT_EQ(refused(size, map, ""), "no error");
  EXPECT_INDEX_REFUSED(
      refused(size, R"("a": "1.safetensors", "b": "1.safetensors", "a": "1.safetensors")", ""),
      "duplicate key 'a'");
  EXPECT_INDEX_REFUSED(refused(R"("total_size": 12, "total_size": 13)", map, ""),
                       "duplicate key 'total_size'");
  EXPECT_INDEX_REFUSED(refused(R"("x": 12, "x": 13, "total_size": 1)", map, ""),
                       "duplicate key 'x'");
  EXPECT_INDEX_REFUSED(refused(size, R"("a": 1)", ""), "a value of type number");
  EXPECT_INDEX_REFUSED(refused(size, "", ""), "names no tensor");
  EXPECT_INDEX_REFUSED(refused(size, map, "}"), "line 1, column ");
  EXPECT_INDEX_REFUSED(refused(size, R"("a": "../1.safetensors")", ""), "without a folder");
}

TEST(ShardIndex, OnlyNotesAnUnusableTotalSize) {
  for (const std::string_view metadata :
       {"", R"("metadata": {},)", R"("metadata": null,)", R"("metadata": {"total_size": "12"},)",
        R"("metadata": {"total_size": 1.5e9},)", R"("metadata": {"total_size": -1},)",
        R"("metadata": [1],)"}) {
    const ShardIndex index = ParseShardIndex(
        fmt::format(R"({{{}"weight_map": {{"a": "1.safetensors"}}}})", metadata), "index.json");
    EXPECT_EQ(index.total_size, std::nullopt) << metadata;
    EXPECT_THAT(index.warnings, ElementsAre(HasSubstr("total_size"))) << metadata;
  }
}

TEST(ShardIndex, RefusesFileNamesThatLeaveTheFolder) {
  for (const std::string_view file :
       {"../1.safetensors", "/etc/1.safetensors", "a/1.safetensors", "..", ".",
        "a\\\\1.safetensors", ".hidden.safetensors", "..safetensors"}) {
    EXPECT_INDEX_REFUSED(RefusalOf(fmt::format(R"({{"weight_map": {{"gate": "{}"}}}})", file)),
                         "tensor 'gate' is placed in file '");
  }
  EXPECT_INDEX_REFUSED(RefusalOf(R"({"weight_map": {"gate": ""}})"), "an empty name");
  EXPECT_INDEX_REFUSED(RefusalOf(R"({"weight_map": {"gate": "a\u0000.safetensors"}})"), "control");
  EXPECT_INDEX_REFUSED(RefusalOf(R"({"weight_map": {"gate": "a\n.safetensors"}})"), "control");
}

TEST(ShardIndex, RefusesFilesOfAnotherKind) {
  EXPECT_INDEX_REFUSED(RefusalOf(R"({"weight_map": {"gate": "pytorch_model.bin"}})"),
                       "expected a .safetensors file");
}

TEST(ShardIndex, RefusesAMapThatIsNone) {
  EXPECT_INDEX_REFUSED(RefusalOf("{}"), "'weight_map' is missing");
  EXPECT_INDEX_REFUSED(RefusalOf("[]"), "expected an object");
  EXPECT_INDEX_REFUSED(RefusalOf("3"), "expected an object");
  EXPECT_INDEX_REFUSED(RefusalOf(R"({"weight_map": null})"), "'weight_map' is missing");
  EXPECT_INDEX_REFUSED(RefusalOf(R"({"weight_map": []})"), "expected an object");
  EXPECT_INDEX_REFUSED(RefusalOf(R"({"weight_map": "x"})"), "expected an object");
  EXPECT_INDEX_REFUSED(RefusalOf(R"({"weight_map": {}})"), "names no tensor");
  EXPECT_INDEX_REFUSED(RefusalOf(R"({"weight_map": {"gate": 1}})"),
                       "tensor 'gate' a value of type number");
  EXPECT_INDEX_REFUSED(RefusalOf(R"({"weight_map": {"gate": ["1.safetensors"]}})"),
                       "tensor 'gate' a value of type array");
}

TEST(ShardIndex, RefusesATensorThatIsPlacedTwice) {
  EXPECT_INDEX_REFUSED(
      RefusalOf(R"({"weight_map": {"a": "1.safetensors", "\u0061": "2.safetensors"}})"),
      "duplicate key 'a'");
  EXPECT_INDEX_REFUSED(RefusalOf(R"({"weight_map": {"a": "1.safetensors"}, "weight_map": {}})"),
                       "duplicate key 'weight_map'");
}

TEST(ShardIndex, RefusesAGitLfsPointerAndBrokenJson) {
  EXPECT_INDEX_REFUSED(
      RefusalOf("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
      "git lfs pull");
  EXPECT_INDEX_REFUSED(RefusalOf(R"({"weight_map": {"a": "1.safetensors")"), "line 1, column ");
  EXPECT_INDEX_REFUSED(RefusalOf(""), "line 1, column 1");
}

}  // namespace
}  // namespace cacheready
