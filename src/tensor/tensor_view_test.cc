// SPDX-License-Identifier: Apache-2.0
#include "tensor/tensor_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "base/error_of.h"
#include "tensor/matrix.h"

namespace cacheready {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// A tensor over a copy of `values`, placed one byte off any alignment, as safetensors allows.
template <typename T>
class Stored {
 public:
  Stored(Dtype dtype, std::vector<T> values, std::vector<std::int64_t> shape = {})
      : bytes_(values.size() * sizeof(T) + 1) {
    std::memcpy(bytes_.data() + 1, values.data(), values.size() * sizeof(T));
    view_.name = "gate";
    view_.file = "shard.safetensors";
    view_.dtype = dtype;
    view_.shape = shape.empty() ? std::vector{static_cast<std::int64_t>(values.size())} : shape;
    view_.bytes = std::span<const std::byte>(bytes_).subspan(1);
  }
  const TensorView& view() const { return view_; }

 private:
  std::vector<std::byte> bytes_;
  TensorView view_;
};

TEST(Dtype, NamesAndBitsAreThoseOfSafetensors) {
  const std::pair<std::string_view, int> expected[] = {
      {"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
      {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
      {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
      {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
      {"I64", 64},        {"U64", 64}};
  for (const auto& [name, bits] : expected) {
    const std::optional<Dtype> dtype = FindDtype(name);
    ASSERT_TRUE(dtype) << name;
    EXPECT_EQ(DtypeName(*dtype), name);
    EXPECT_EQ(DtypeBits(*dtype), bits) << name;
  }
  EXPECT_EQ(FindDtype("BF16"), Dtype::kBF16);
  EXPECT_EQ(FindDtype("F8_E4M3"), Dtype::kF8E4M3);
  EXPECT_EQ(FindDtype("U64"), Dtype::kU64);
  EXPECT_EQ(FindDtype("bf16"), std::nullopt);
  EXPECT_EQ(FindDtype(""), std::nullopt);
}

TEST(TensorView, CountsElements) {
  TensorView view;
  EXPECT_EQ(view.NumElements(), 1);  // a scalar
  view.shape = {3, 5};
  EXPECT_EQ(view.NumElements(), 15);
  view.shape = {3, 0};
  EXPECT_EQ(view.NumElements(), 0);
  EXPECT_EQ(ShapeText(view.shape), "[3, 0]");
  EXPECT_EQ(ShapeText({}), "[]");
}

TEST(TensorView, RowsOfABiasWithALeadingDimAreItsEntries) {
  const auto rows = [](std::vector<std::int64_t> shape) {
    TensorView view;
    view.shape = std::move(shape);
    return view.NumRows();
  };
  EXPECT_EQ(rows({}), 0);
  EXPECT_EQ(rows({8}), 8);
  EXPECT_EQ(rows({1}), 1);
  EXPECT_EQ(rows({8, 16}), 8);
  EXPECT_EQ(rows({1, 8}), 8);
  EXPECT_EQ(rows({1, 8, 16}), 1);
}

TEST(TensorView, ReadsEveryFloatDtypeFromUnalignedBytes) {
  EXPECT_THAT(ReadFloats(Stored<float>(Dtype::kF32, {1.5f, -2}).view()), ElementsAre(1.5f, -2));
  EXPECT_THAT(ReadFloats(Stored<double>(Dtype::kF64, {0.1, -2}).view()), ElementsAre(0.1f, -2));
  EXPECT_THAT(ReadFloats(Stored<std::uint16_t>(Dtype::kBF16, {0x3F80, 0xC000}).view()),
              ElementsAre(1, -2));
  EXPECT_THAT(ReadFloats(Stored<std::uint16_t>(Dtype::kF16, {0x3C00, 0xC000}).view()),
              ElementsAre(1, -2));
}

TEST(TensorView, ReadsAPartOfTheElements) {
  const Stored<float> stored(Dtype::kF32, {0, 1, 2, 3, 4, 5}, {2, 3});
  std::vector<float> part(3);
  ReadFloats(stored.view(), 2, part);
  EXPECT_THAT(part, ElementsAre(2, 3, 4));
}

TEST(TensorView, ReadsEveryIntegerDtype) {
  EXPECT_THAT(ReadInts(Stored<std::int64_t>(Dtype::kI64, {-1, 1LL << 40}).view()),
              ElementsAre(-1, 1LL << 40));
  EXPECT_THAT(ReadInts(Stored<std::int32_t>(Dtype::kI32, {-7}).view()), ElementsAre(-7));
  EXPECT_THAT(ReadInts(Stored<std::uint32_t>(Dtype::kU32, {4'000'000'000u}).view()),
              ElementsAre(4'000'000'000));
  EXPECT_THAT(ReadInts(Stored<std::int16_t>(Dtype::kI16, {-300}).view()), ElementsAre(-300));
  EXPECT_THAT(ReadInts(Stored<std::uint16_t>(Dtype::kU16, {65535}).view()), ElementsAre(65535));
  EXPECT_THAT(ReadInts(Stored<std::int8_t>(Dtype::kI8, {-128}).view()), ElementsAre(-128));
  EXPECT_THAT(ReadInts(Stored<std::uint8_t>(Dtype::kU8, {255}).view()), ElementsAre(255));
}

TEST(TensorView, RefusesOtherDtypesNamingFileTensorAndDtype) {
  const Stored<std::uint8_t> codes(Dtype::kF8E4M3, {1, 2});
  const auto names_it = AllOf(HasSubstr("shard.safetensors"), HasSubstr("'gate'"), HasSubstr("[2]"),
                              HasSubstr("F8_E4M3"));
  EXPECT_THAT(ErrorOf([&] { ReadFloats(codes.view()); }), names_it);
  EXPECT_THAT(ErrorOf([&] { ReadInts(codes.view()); }), names_it);
}

TEST(Matrix, GathersRowsInTheAskedOrder) {
  Matrix source(3, 2);
  for (std::int64_t r = 0; r < 3; ++r) {
    for (std::int64_t c = 0; c < 2; ++c) source.at(r, c) = static_cast<float>(10 * r + c);
  }
  const std::vector<std::int32_t> indices = {2, 0, 2};
  const Matrix gathered = GatherRows(source, indices);
  EXPECT_EQ(gathered.rows(), 3);
  EXPECT_THAT(gathered.values(), ElementsAre(20, 21, 0, 1, 20, 21));
  EXPECT_EQ(GatherRows(source, {}).rows(), 0);
}

}  // namespace
}  // namespace cacheready
