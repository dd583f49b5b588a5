// Every stored weight of goldens/formats against what numpy computed from the formats' formulas.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "formats/quantization_config.h"
#include "formats/weight_formats.h"
#include "io/mapped_file.h"
#include "support/safetensors_contents.h"

namespace cacheready {
namespace {

const std::filesystem::path kFolder =
    std::filesystem::path(CACHEREADY_SOURCE_DIR) / "goldens/formats";

struct Case {
  std::string name, format;
  std::int64_t rows = 0, cols = 0;
  std::optional<PlainSlice> slice;
  QuantizationConfig config;
};

class ExpectedValues : public ::testing::Test {
 protected:
  ExpectedValues() : contents_(kFolder / "weights.safetensors") {
    const Json list = ParseJson(ReadTextFile(kFolder / "cases.json"), "cases.json");
    for (const Json& json : list) {
      const std::string name = GetString(json, "case", "cases.json");
      Case added{name,
                 GetString(json, "format", name),
                 GetInt(json, "rows", name),
                 GetInt(json, "cols", name),
                 {},
                 ParseQuantizationConfig(GetMember(json, "config", name), "", name)};
      if (const Json* slice = FindMember(json, "slice")) {
        added.slice = PlainSlice{.index = GetInt(*slice, "index", name),
                                 .row_begin = GetInt(*slice, "row_begin", name),
                                 .rows = GetInt(*slice, "rows", name),
                                 .row_stride = GetInt(*slice, "row_stride", name)};
      }
      cases_.push_back(std::move(added));
    }
  }

  TensorFinder finder() const {
    return [this](std::string_view name) -> const TensorView* {
      const auto found = contents_.tensors().find(std::string(name));
      return found == contents_.tensors().end() ? nullptr : &found->second;
    };
  }
  FormatRequest Request(const Case& test) const {
    return {.module = test.name,
            .rows = test.rows,
            .cols = test.cols,
            .slice = test.slice,
            .scheme = test.config.FindScheme(test.name),
            .quant_method = test.config.method};
  }
  Matrix Expected(const Case& test) const { return contents_.Floats(test.name + ".expected"); }
  Matrix Steps(const Case& test) const { return contents_.Floats(test.name + ".step"); }

  SafetensorsContents contents_;
  std::vector<Case> cases_;
};

bool SameBits(const Matrix& a, const Matrix& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() &&
         std::memcmp(a.values().data(), b.values().data(), a.values().size() * sizeof(float)) == 0;
}

double LargestRelativeError(const Matrix& ours, const Matrix& expected) {
  double largest = 0;
  for (std::size_t i = 0; i < expected.values().size(); ++i) {
    const double right = expected.values()[i], found = ours.values()[i];
    if (std::isnan(right) && std::isnan(found)) continue;
    const double error = right == found ? 0 : std::fabs(found - right) / std::fabs(right);
    largest = std::max(largest, std::isnan(error) ? INFINITY : error);
  }
  return largest;
}

// A weight of the format's formula is a product rounded once, and so is ours: not one bit differs.
TEST_F(ExpectedValues, AreDecodedExactly) {
  struct Count {
    std::size_t cases = 0, values = 0;
    double error = 0;
  };
  std::map<std::string, Count> counts;
  for (const Case& test : cases_) {
    SCOPED_TRACE(test.name);
    const EncodedMatrixPtr matrix = OpenWeight(Request(test), finder());
    EXPECT_EQ(matrix->format(), test.format);
    const Matrix expected = Expected(test);
    const Matrix ours = DecodeAll(*matrix);
    ASSERT_EQ(ours.values().size(), expected.values().size());
    Count& count = counts[test.format];
    ++count.cases;
    count.values += expected.values().size();
    count.error = std::max(count.error, LargestRelativeError(ours, expected));
  }
  EXPECT_EQ(counts.size(), 10u);
  for (const auto& [format, count] : counts) {
    std::printf("%-12s %2zu cases, %6zu values, largest relative error %g\n", format.c_str(),
                count.cases, count.values, count.error);
    EXPECT_EQ(count.error, 0) << format;
  }
}

TEST_F(ExpectedValues, DoNotDependOnTheRowsDecodedTogether) {
  for (const Case& test : cases_) {
    SCOPED_TRACE(test.name);
    const EncodedMatrixPtr matrix = OpenWeight(Request(test), finder());
    const Matrix whole = DecodeAll(*matrix);
    Matrix one_by_one(matrix->rows(), matrix->cols());
    Matrix dithered(matrix->rows(), matrix->cols()), dithered_rows = dithered;
    matrix->DecodeRowsDithered(0, matrix->rows(), 7, dithered.values().data());
    for (std::int64_t r = 0; r < matrix->rows(); ++r) {
      matrix->DecodeRows(r, 1, one_by_one.row(r).data());
      matrix->DecodeRowsDithered(r, 1, 7, dithered_rows.row(r).data());
    }
    EXPECT_TRUE(SameBits(one_by_one, whole));
    EXPECT_TRUE(SameBits(dithered_rows, dithered));
  }
}

TEST_F(ExpectedValues, AreTheCodesTimesTheScalesOfTheirBlocks) {
  for (const Case& test : cases_) {
    SCOPED_TRACE(test.name);
    const EncodedMatrixPtr matrix = OpenWeight(Request(test), finder());
    const BlockShape block = matrix->block_shape();
    Matrix codes(matrix->rows(), matrix->cols()), dithered = codes, expected_dithered = codes;
    matrix->DecodeCodes(0, matrix->rows(), codes.values().data());
    matrix->DecodeCodesDithered(0, matrix->rows(), 3, dithered.values().data());
    matrix->DecodeRowsDithered(0, matrix->rows(), 3, expected_dithered.values().data());
    for (std::int64_t r = 0; r < matrix->rows() && block.cols > 0; ++r) {
      for (std::int64_t c = 0; c < matrix->cols(); ++c) {
        const float scale = matrix->Scale(r / block.rows, c / block.cols);
        codes.at(r, c) *= scale;
        dithered.at(r, c) *= scale;
      }
    }
    EXPECT_EQ(LargestRelativeError(codes, Expected(test)), 0);
    EXPECT_EQ(LargestRelativeError(dithered, expected_dithered), 0);
  }
}

// The offset of a weight, in steps of its own grid, is uniform over (-1/2, 1/2).
TEST_F(ExpectedValues, AreDitheredByHalfAStepOfTheirGrid) {
  std::map<std::string, std::vector<double>> offsets;
  for (const Case& test : cases_) {
    if (test.name == "e8m0_all_codes") continue;  // beyond what fp32 can add
    SCOPED_TRACE(test.name);
    const EncodedMatrixPtr matrix = OpenWeight(Request(test), finder());
    const Matrix expected = Expected(test), steps = Steps(test);
    Matrix dithered(matrix->rows(), matrix->cols());
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      matrix->DecodeRowsDithered(0, matrix->rows(), seed, dithered.values().data());
      for (std::size_t i = 0; i < expected.values().size(); ++i) {
        if (std::isnan(expected.values()[i])) continue;
        const double offset = (double{dithered.values()[i]} - double{expected.values()[i]}) /
                              double{steps.values()[i]};
        ASSERT_LE(std::fabs(offset), 0.5 + 1e-5) << i;
        offsets[test.format].push_back(offset);
      }
    }
  }
  for (const auto& [format, values] : offsets) {
    double sum = 0, squares = 0, largest = 0;
    for (const double offset : values) {
      sum += offset;
      squares += offset * offset;
      largest = std::max(largest, std::fabs(offset));
    }
    const auto n = static_cast<double>(values.size());
    EXPECT_GT(n, 1000) << format;
    EXPECT_NEAR(sum / n, 0.0, 5 * std::sqrt(1.0 / 12 / n)) << format;
    EXPECT_NEAR(squares / n, 1.0 / 12, 5 * std::sqrt(1.0 / 180 / n)) << format;
    EXPECT_GT(largest, 0.49) << format;
  }
}

TEST_F(ExpectedValues, NeedNoShapeFromTheConfigWhereTheTensorsTellIt) {
  for (const Case& test : cases_) {
    SCOPED_TRACE(test.name);
    FormatRequest request = Request(test);
    request.rows = request.cols = -1;
    const EncodedMatrixPtr matrix = OpenWeight(request, finder());
    EXPECT_EQ(matrix->rows(), test.rows);
    EXPECT_EQ(matrix->cols(), test.cols);
  }
}

TEST_F(ExpectedValues, AreRefusedWithAnotherShapeThanTheConfigSays) {
  for (const Case& test : cases_) {
    SCOPED_TRACE(test.name);
    FormatRequest request = Request(test);
    request.rows = test.rows + 1;
    EXPECT_THROW(OpenWeight(request, finder()), Error);
    request.rows = test.rows;
    request.cols = 8 * test.cols;
    EXPECT_THROW(OpenWeight(request, finder()), Error);
  }
}

}  // namespace
}  // namespace cacheready
