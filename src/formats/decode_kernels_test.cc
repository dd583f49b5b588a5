// Every instruction set decodes to the values of the formats' definitions, at any address and
// length. SPDX-License-Identifier: Apache-2.0
#include "formats/decode_kernels.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/random.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

class EveryDecoder : public ::testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override {
    for (const DecodeKernels& table : AvailableDecodeKernels()) {
      if (table.name == GetParam()) kernels_ = &table;
    }
    if (kernels_ == nullptr) GTEST_SKIP() << "this CPU has no " << GetParam();
  }
  const DecodeKernels& kernels() const { return *kernels_; }

 private:
  const DecodeKernels* kernels_ = nullptr;
};

constexpr std::int64_t kLengths[] = {0, 1, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 200, 515};
constexpr float kUntouched = 12345.0f;

std::vector<std::uint8_t> Bytes(std::size_t count, std::uint64_t seed) {
  std::vector<std::uint8_t> bytes(count);
  for (std::size_t i = 0; i < count; ++i) {
    bytes[i] = static_cast<std::uint8_t>(256 * UniformAt(seed, i));
  }
  return bytes;
}

// decode(from, count, out) writes value(i) to out[i] and nothing beyond.
template <typename Decode, typename Value>
void ExpectValues(Decode decode, Value value) {
  for (const std::int64_t count : kLengths) {
    std::vector<float> out(static_cast<std::size_t>(count) + 64, kUntouched);
    decode(count, out.data());
    for (std::int64_t i = 0; i < count; ++i) {
      const float expected = value(i), found = out[static_cast<std::size_t>(i)];
      ASSERT_EQ(std::bit_cast<std::uint32_t>(found), std::bit_cast<std::uint32_t>(expected))
          << count << " " << i;
    }
    for (std::size_t i = static_cast<std::size_t>(count); i < out.size(); ++i) {
      ASSERT_EQ(out[i], kUntouched) << count;
    }
  }
}

TEST_P(EveryDecoder, WidensBf16AtAnyAddress) {
  const std::vector<std::uint8_t> bytes = Bytes(2 * 600 + 1, 1);
  ExpectValues(
      [&](std::int64_t count, float* out) { kernels().widen_bf16(bytes.data() + 1, count, out); },
      [&](std::int64_t i) {
        const auto at = static_cast<std::size_t>(2 * i + 1);
        return std::bit_cast<float>(static_cast<std::uint32_t>(bytes[at]) << 16 |
                                    static_cast<std::uint32_t>(bytes[at + 1]) << 24);
      });
}

TEST_P(EveryDecoder, WidensEveryF16) {
  std::vector<std::uint16_t> codes(65536);
  std::iota(codes.begin(), codes.end(), std::uint16_t{0});
  std::vector<float> out(codes.size());
  kernels().widen_f16(codes.data(), 65536, out.data());
  for (std::size_t i = 0; i < codes.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(out[i]),
              std::bit_cast<std::uint32_t>(F16ToFloat(codes[i])))
        << i;
  }
  ExpectValues(
      [&](std::int64_t count, float* out_of) { kernels().widen_f16(codes.data(), count, out_of); },
      [&](std::int64_t i) { return F16ToFloat(static_cast<std::uint16_t>(i)); });
}

// OCP e4m3fn by its definition; NaN as the table has it, with its sign.
std::vector<float> E4m3Values() {
  std::vector<float> values;
  for (int code = 0; code < 256; ++code) {
    const int exponent = (code >> 3) & 15, mantissa = code & 7;
    double magnitude =
        exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
    if ((code & 127) == 127) magnitude = std::nan("");
    values.push_back(static_cast<float>(std::copysign(magnitude, (code & 128) != 0 ? -1 : 1)));
  }
  return values;
}

TEST_P(EveryDecoder, WidensE4m3WithAndWithoutNaN) {
  const std::vector<float> table = E4m3Values();
  for (const bool with_nan : {false, true}) {
    std::vector<std::uint8_t> codes = Bytes(600, 2);
    for (std::size_t i = 0; i < 256; ++i) codes[i] = static_cast<std::uint8_t>(255 - i);  // all
    for (std::uint8_t& code : codes) {
      if ((code & 127) == 127 && !with_nan) code = 1;
    }
    ExpectValues(
        [&](std::int64_t count, float* out) {
          kernels().widen_e4m3(codes.data() + 1, count, table.data(), out);
        },
        [&](std::int64_t i) { return table[codes[static_cast<std::size_t>(i + 1)]]; });
  }
}

TEST_P(EveryDecoder, PutsEveryE4m3IntoBf16) {
  const std::vector<float> values = E4m3Values();
  std::vector<std::uint16_t> table;
  for (const float value : values) table.push_back(FloatToBf16(value));
  for (const bool with_nan : {false, true}) {
    std::vector<std::uint8_t> codes(256 + 515);
    for (std::size_t i = 0; i < codes.size(); ++i) {
      codes[i] = static_cast<std::uint8_t>(i % 256);
      if ((codes[i] & 127) == 127 && !with_nan) codes[i] = 3;
    }
    for (const std::int64_t count : kLengths) {
      std::vector<std::uint16_t> out(static_cast<std::size_t>(count) + 64, 0x1234);
      kernels().e4m3_to_bf16(codes.data() + 1, count, table.data(), out.data());
      for (std::size_t i = 0; i < out.size(); ++i) {
        const bool inside = i < static_cast<std::size_t>(count);
        ASSERT_EQ(out[i], inside ? table[codes[i + 1]] : 0x1234) << count << " " << i;
      }
    }
  }
}

TEST_P(EveryDecoder, LooksNibblesUpLowBitsFirst) {
  const std::vector<std::uint8_t> bytes = Bytes(300, 3);
  std::vector<float> table;
  for (std::uint64_t i = 0; i < 16; ++i) table.push_back(static_cast<float>(NormalAt(4, i)));
  ExpectValues(
      [&](std::int64_t count, float* out) {
        kernels().widen_nibbles(bytes.data() + 1, count, table.data(), out);
      },
      [&](std::int64_t i) {
        const int byte = bytes[static_cast<std::size_t>(i / 2 + 1)];
        return table[static_cast<std::size_t>(i % 2 == 0 ? byte % 16 : byte / 16)];
      });
}

TEST_P(EveryDecoder, WidensBytesOfEitherSign) {
  const std::vector<std::uint8_t> bytes = Bytes(600, 5);
  ExpectValues(
      [&](std::int64_t count, float* out) { kernels().widen_bytes(bytes.data() + 1, count, out); },
      [&](std::int64_t i) { return static_cast<float>(bytes[static_cast<std::size_t>(i) + 1]); });
  ExpectValues([&](std::int64_t count,
                   float* out) { kernels().widen_signed_bytes(bytes.data() + 1, count, out); },
               [&](std::int64_t i) {
                 const int byte = bytes[static_cast<std::size_t>(i) + 1];
                 return static_cast<float>(byte < 128 ? byte : byte - 256);
               });
}

TEST_P(EveryDecoder, AppliesTheNumberOfEachBlock) {
  std::vector<float> row, by;
  for (std::uint64_t i = 0; i < 600; ++i) {
    row.push_back(static_cast<float>(NormalAt(6, i)));
    by.push_back(static_cast<float>(NormalAt(7, i)));
  }
  for (const std::int64_t block : {1, 3, 16, 32, 48, 128, 1000}) {
    const auto number = [&](std::int64_t i) { return by[static_cast<std::size_t>(i / block)]; };
    const auto apply = [&](auto function) {
      return [&row, &by, block, function](std::int64_t count, float* out) {
        std::memcpy(out, row.data(), static_cast<std::size_t>(count) * sizeof(float));
        function(by.data(), block, count, out);
      };
    };
    ExpectValues(apply(kernels().multiply_blocks),
                 [&](std::int64_t i) { return row[static_cast<std::size_t>(i)] * number(i); });
    ExpectValues(apply(kernels().subtract_blocks),
                 [&](std::int64_t i) { return row[static_cast<std::size_t>(i)] - number(i); });
  }
}

TEST_P(EveryDecoder, WidensFieldsOfWords) {
  std::vector<std::uint32_t> words;
  for (std::uint64_t i = 0; i < 600; ++i) {
    words.push_back(static_cast<std::uint32_t>(0x1p32 * UniformAt(8, i)));
  }
  for (const int bits : {4, 8}) {
    for (int shift = 0; shift < 32; shift += bits) {
      ExpectValues(
          [&](std::int64_t count, float* out) {
            kernels().widen_fields(words.data(), count, shift, bits, out);
          },
          [&](std::int64_t i) {
            return static_cast<float>((words[static_cast<std::size_t>(i)] >> shift) % (1u << bits));
          });
    }
  }
}

std::uint64_t SplitMix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// The offset of one weight by its definition, in double.
double OffsetAt(std::uint64_t stream, std::int64_t row, std::int64_t col) {
  constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15ull;
  const std::uint64_t key = SplitMix(stream + kGolden * (static_cast<std::uint64_t>(row) + 1));
  const std::uint64_t hash = SplitMix(key + kGolden * (static_cast<std::uint64_t>(col / 4) + 1));
  const auto word = static_cast<double>((hash >> (16 * (col % 4))) & 0xFFFF);
  return (2 * word + 1) * 0x1p-17 - 0.5;
}

TEST_P(EveryDecoder, AddsTheOffsetOfEachColumnTimesTheStepThere) {
  std::vector<float> row = {0.0f, -0.0f, 0x1p-24f, 0x1p-14f, 0x1p-9f, 448.0f, -6.0f, 0.5f, 1.0f};
  for (std::uint64_t i = 0; i < 600; ++i) row.push_back(static_cast<float>(NormalAt(9, i)));
  const DitherGrid grids[] = {{0.0f, 0x1p-7f}, {0x1p-14f, 0x1p-10f, true}, {0x1p30f, 0x1p-30f}};
  for (const DitherGrid& grid : grids) {
    ExpectValues(
        [&](std::int64_t count, float* out) {
          std::memcpy(out, row.data(), static_cast<std::size_t>(count) * sizeof(float));
          kernels().add_dither(11, 5, count, grid, out);
        },
        [&](std::int64_t i) {
          const float value = row[static_cast<std::size_t>(i)];
          const double binade = value == 0 ? 0 : std::ldexp(1.0, std::ilogb(value));
          const bool stays = grid.zeros_stay && value == 0;
          const double step = stays ? 0 : std::fmax(binade, grid.floor) * double{grid.factor};
          return static_cast<float>(double{value} + OffsetAt(11, 5, i) * step);
        });
  }
}

INSTANTIATE_TEST_SUITE_P(OfTheTable, EveryDecoder, ::testing::Values("portable", "avx2", "avx512"),
                         [](const auto& instance) { return std::string(instance.param); });

TEST(DecodeKernels, AreThoseOfTheCpuAndOfTheNameAskedFor) {
  EXPECT_EQ(AvailableDecodeKernels().front().name, "portable");
  EXPECT_EQ(AvailableDecodeKernels().size(), std::size_t{1} + Cpu().avx2 + Cpu().avx512);
  SetDecodeKernels("portable");
  EXPECT_EQ(ActiveDecodeKernels().name, "portable");
  SetDecodeKernels("amx");  // has no decoders of its own
  EXPECT_EQ(ActiveDecodeKernels().name, AvailableDecodeKernels().back().name);
}

}  // namespace
}  // namespace cacheready
