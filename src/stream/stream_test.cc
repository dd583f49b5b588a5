// On the shipped reference checkpoint: what streaming must not change.
// SPDX-License-Identifier: Apache-2.0
#include "stream/stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/error_of.h"
#include "base/parallel.h"
#include "base/random.h"
#include "checkpoint/safetensors_header.h"
#include "stream/forward.h"

namespace cacheready {
namespace {

using ::testing::HasSubstr;

const Model& ReferenceModel() {
  static const Checkpoint checkpoint =
      Checkpoint::Open(CACHEREADY_SOURCE_DIR "/models/reference-fp8");
  static const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  return *model;
}

Arithmetic ArithmeticOf(std::string_view profile) {
  return {.profile = &GetProfile(profile), .dither_seed = {}};
}

TokenBatch RandomBatch(std::initializer_list<std::int64_t> lengths, std::uint64_t seed = 5) {
  RandomStream random(seed);
  TokenBatch batch;
  for (const std::int64_t length : lengths) {
    for (std::int64_t n = 0; n < length; ++n) {
      batch.ids.push_back(static_cast<std::int32_t>(random.Below(4096)));
    }
    batch.bounds.push_back(batch.tokens());
  }
  return batch;
}

TokenBatch Document(const TokenBatch& batch, std::size_t index) {
  TokenBatch document;
  document.ids.assign(batch.ids.begin() + batch.bounds[index],
                      batch.ids.begin() + batch.bounds[index + 1]);
  document.bounds.push_back(document.tokens());
  return document;
}

bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// Rows [begin, begin + part.rows()) of `whole` against `part`.
bool SameRows(const Matrix& whole, std::int64_t begin, const Matrix& part) {
  const auto first = static_cast<std::size_t>(begin * whole.cols());
  return SameBits(whole.values().subspan(first, part.values().size()), part.values());
}

class StreamInProfile : public ::testing::TestWithParam<const char*> {};

TEST_P(StreamInProfile, AllBitsAreEqualAtAnyNumberOfThreads) {
  const TokenBatch batch = RandomBatch({60, 45});
  const int threads = NumThreads();
  SetNumThreads(1);
  const std::vector<std::byte> one =
      SerializeForward(RunForward(ReferenceModel(), batch, ArithmeticOf(GetParam())));
  for (const int count : {2, 5}) {
    SetNumThreads(count);
    EXPECT_EQ(SerializeForward(RunForward(ReferenceModel(), batch, ArithmeticOf(GetParam()))), one)
        << count << " threads";
  }
  SetNumThreads(threads);
}

TEST_P(StreamInProfile, ADocumentAloneHasTheBitsThatItHasInABatch) {
  const TokenBatch batch = RandomBatch({33, 70, 1, 52});
  const Arithmetic arithmetic = ArithmeticOf(GetParam());
  const ForwardOutputs together = RunForward(ReferenceModel(), batch, arithmetic);
  for (std::size_t d = 0; d + 1 < batch.bounds.size(); ++d) {
    const ForwardOutputs alone = RunForward(ReferenceModel(), Document(batch, d), arithmetic);
    for (std::size_t n = 0; n < together.hidden_states.size(); ++n) {
      EXPECT_TRUE(SameRows(together.hidden_states[n], batch.bounds[d], alone.hidden_states[n]))
          << "document " << d << ", hidden state " << n;
    }
    EXPECT_TRUE(SameRows(together.logits, batch.bounds[d], alone.logits)) << "document " << d;
  }
}

// A second checkpoint of the same shape beside the first: neither sees the other.
TEST(Stream, TwoCheckpointsSideBySideHaveTheBitsThatTheyHaveAlone) {
  static const Checkpoint checkpoint =
      Checkpoint::Open(CACHEREADY_SOURCE_DIR "/models/upcycled-fp8");
  const std::unique_ptr<Model> upcycled = DescribeModel(checkpoint);
  const TokenBatch batch = RandomBatch({20, 13});
  std::vector<Variant> variants(2);
  variants[0].arithmetic = variants[1].arithmetic = Fp32Arithmetic();
  variants[1].model = upcycled.get();
  StreamState state = BeginStream(ReferenceModel(), batch, variants);
  RunLayers(ReferenceModel(), batch, variants, nullptr, state);
  const ForwardOutputs first = RunForward(ReferenceModel(), batch, Fp32Arithmetic());
  const ForwardOutputs second = RunForward(*upcycled, batch, Fp32Arithmetic());
  RunHead(ReferenceModel(), variants, state,
          [&](std::int64_t begin, std::span<const Matrix> logits) {
            EXPECT_TRUE(SameRows(first.logits, begin, logits[0]));
            EXPECT_TRUE(SameRows(second.logits, begin, logits[1]));
          });
  EXPECT_FALSE(SameBits(first.logits.values(), second.logits.values()));
}

INSTANTIATE_TEST_SUITE_P(Profiles, StreamInProfile,
                         ::testing::Values("fp32", "bf16-tp1", "fp8-w8a8"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(Stream, VariantsSideBySideGetTheBitsThatEachGetsAlone) {
  const TokenBatch batch = RandomBatch({40});
  const std::vector<Variant> variants = {{"reference", ArithmeticOf("fp32")},
                                         {"profile", ArithmeticOf("fp8-w8a8")}};
  StreamState state = BeginStream(ReferenceModel(), batch, variants);
  RunLayers(ReferenceModel(), batch, variants, {}, state);
  for (std::size_t v = 0; v < variants.size(); ++v) {
    StreamState alone = BeginStream(ReferenceModel(), batch, std::span(&variants[v], 1));
    RunLayers(ReferenceModel(), batch, std::span(&variants[v], 1), {}, alone);
    EXPECT_TRUE(SameBits(state.hidden[v].values(), alone.hidden[0].values())) << variants[v].name;
  }
  EXPECT_FALSE(SameBits(state.hidden[0].values(), state.hidden[1].values()));
}

TEST(Stream, ObserversSeeEveryLayerOnceAndInOrder) {
  const TokenBatch batch = RandomBatch({12});
  const std::vector<Variant> variants = {{"reference", ArithmeticOf("fp32")}};
  StreamState state = BeginStream(ReferenceModel(), batch, variants);
  std::vector<std::int64_t> seen;
  RunLayers(
      ReferenceModel(), batch, variants,
      [&](std::int64_t index, const Layer& layer, std::span<const LayerActivations> runs) {
        seen.push_back(index);
        ASSERT_NE(layer.moe(), nullptr);
        ASSERT_EQ(runs.size(), 1u);
        EXPECT_EQ(runs[0].logits.cols(), 32);
        EXPECT_EQ(runs[0].routing.tokens(), 12);
      },
      state);
  EXPECT_THAT(seen, ::testing::ElementsAre(0, 1, 2, 3));
}

// The stored gate of a layer with the row of expert `from` laid over that of `to`.
EncodedMatrixPtr GateWithCopiedRow(std::int64_t layer, std::int64_t from, std::int64_t to) {
  Matrix gate = DecodeAll(*ReferenceModel().OpenLayer(layer)->moe()->router_weight);
  std::copy_n(gate.row(from).begin(), gate.cols(), gate.row(to).begin());
  return MakeDenseMatrix(std::move(gate));
}

TEST(Stream, AnOverrideReplacesTheGateOfItsLayerOnly) {
  const TokenBatch batch = RandomBatch({30});
  RouterOverrides overrides;
  overrides[1].weight = GateWithCopiedRow(1, 3, 4);
  const std::vector<Variant> variants = {{"stored", ArithmeticOf("fp32")},
                                         {"patched", ArithmeticOf("fp32"), &overrides}};
  StreamState state = BeginStream(ReferenceModel(), batch, variants);
  RunLayers(
      ReferenceModel(), batch, variants,
      [&](std::int64_t index, const Layer&, std::span<const LayerActivations> runs) {
        if (index == 0) {
          EXPECT_TRUE(SameBits(runs[0].logits.values(), runs[1].logits.values()));
        }
        if (index != 1) return;
        for (std::int64_t t = 0; t < 30; ++t) {
          for (std::int64_t e = 0; e < 32; ++e) {
            const std::int64_t source = e == 4 ? 3 : e;
            EXPECT_EQ(runs[1].logits.at(t, e), runs[0].logits.at(t, source));
          }
        }
      },
      state);
}

TEST(Stream, ASelectionBiasOverrideDecidesTheChoice) {
  const TokenBatch batch = RandomBatch({10});
  RouterOverrides overrides;
  overrides[0].selection_bias.assign(32, 0.0f);
  overrides[0].selection_bias[17] = 2.0f;  // above every probability
  const std::vector<Variant> variants = {{"biased", ArithmeticOf("fp32"), &overrides}};
  StreamState state = BeginStream(ReferenceModel(), batch, variants);
  AdvanceLayer(
      ReferenceModel(), batch, variants,
      [&](std::int64_t, const Layer&, std::span<const LayerActivations> runs) {
        for (std::int64_t t = 0; t < 10; ++t) EXPECT_EQ(runs[0].routing.ids_of(t)[0], 17);
      },
      state);
}

TEST(Stream, ForcedIdsAreWhatTheLayerRuns) {
  const TokenBatch batch = RandomBatch({20});
  const ForwardOutputs free = RunForward(ReferenceModel(), batch, ArithmeticOf("fp32"));
  ForcedIds same = {{2, free.routers.at(2).routing.ids}};
  EXPECT_EQ(SerializeForward(RunForward(ReferenceModel(), batch, ArithmeticOf("fp32"), &same)),
            SerializeForward(free));

  ForcedIds first_four;
  for (int n = 0; n < 80; ++n) first_four[2].push_back(n % 4);
  const ForwardOutputs forced =
      RunForward(ReferenceModel(), batch, ArithmeticOf("fp32"), &first_four);
  EXPECT_EQ(forced.routers.at(2).routing.ids, first_four.at(2));
  EXPECT_TRUE(SameBits(forced.hidden_states[2].values(), free.hidden_states[2].values()));
  EXPECT_FALSE(SameBits(forced.hidden_states[3].values(), free.hidden_states[3].values()));
}

TEST(Stream, ForcedIdsOfAnotherShapeAreRefused) {
  const TokenBatch batch = RandomBatch({20});
  const ForcedIds forced = {{1, {0, 1, 2, 3}}};
  EXPECT_THAT(
      ErrorOf([&] { RunForward(ReferenceModel(), batch, ArithmeticOf("fp32"), &forced); }),
      HasSubstr("layer 1: 4 expert ids are given for 20 tokens that select 4 experts each"));
}

TEST(Stream, ForcedIdsOutsideTheExpertsAreRefused) {
  const TokenBatch batch = RandomBatch({1});
  const ForcedIds forced = {{1, {0, 1, 2, 32}}};
  EXPECT_THAT(ErrorOf([&] { RunForward(ReferenceModel(), batch, ArithmeticOf("fp32"), &forced); }),
              HasSubstr("layer 1: expert id 32 is given, and the layer has 32 experts"));
}

TEST(Stream, ANaNIsAnErrorThatNamesLayerRunAndTensor) {
  const TokenBatch batch = RandomBatch({8});
  Matrix gate = DecodeAll(*ReferenceModel().OpenLayer(2)->moe()->router_weight);
  gate.at(5, 0) = std::numeric_limits<float>::quiet_NaN();
  RouterOverrides overrides;
  overrides[2].weight = MakeDenseMatrix(std::move(gate));
  const std::vector<Variant> variants = {{"stored", ArithmeticOf("fp32")},
                                         {"broken", ArithmeticOf("fp32"), &overrides}};
  StreamState state = BeginStream(ReferenceModel(), batch, variants);
  EXPECT_THAT(ErrorOf([&] { RunLayers(ReferenceModel(), batch, variants, {}, state); }),
              HasSubstr("layer 2, run 'broken', router logits"));
}

TEST(Stream, TokenIdsOutsideTheVocabularyAreRefused) {
  TokenBatch batch = RandomBatch({3});
  batch.ids[1] = 4096;
  EXPECT_THAT(ErrorOf([&] { RunForward(ReferenceModel(), batch, ArithmeticOf("fp32")); }),
              HasSubstr("token 1 of the batch has id 4096"));
  batch.ids[1] = -1;
  EXPECT_THROW(RunForward(ReferenceModel(), batch, ArithmeticOf("fp32")), Error);
}

TEST(Stream, NoTokensGiveEmptyOutputs) {
  const ForwardOutputs outputs = RunForward(ReferenceModel(), TokenBatch{}, ArithmeticOf("fp32"));
  EXPECT_EQ(outputs.hidden_states.size(), 5u);
  EXPECT_EQ(outputs.logits.rows(), 0);
}

TEST(Stream, TheHeadCoversEveryTokenOnce) {
  const TokenBatch batch = RandomBatch({300, 300});
  const std::vector<Variant> variants = {{"reference", ArithmeticOf("fp32")}};
  StreamState state = BeginStream(ReferenceModel(), batch, variants);
  RunLayers(ReferenceModel(), batch, variants, {}, state);
  std::int64_t next = 0;
  RunHead(ReferenceModel(), variants, state,
          [&](std::int64_t first, std::span<const Matrix> logits) {
            EXPECT_EQ(first, next);
            EXPECT_EQ(logits[0].cols(), 4096);
            next += logits[0].rows();
          });
  EXPECT_EQ(next, 600);
}

TEST(Forward, TheFileHoldsTheNamedTensors) {
  const TokenBatch batch = RandomBatch({7});
  const std::vector<std::byte> file =
      SerializeForward(RunForward(ReferenceModel(), batch, ArithmeticOf("fp32")));
  const SafetensorsHeader header = ParseSafetensorsHeader(file, file.size(), "forward");
  std::vector<std::string> found;
  for (const TensorEntry& tensor : header.tensors) {
    found.push_back(
        fmt::format("{} {} {}", tensor.name, DtypeName(tensor.dtype), ShapeText(tensor.shape)));
  }
  EXPECT_EQ(found.size(), 5u + 4u * 4u + 1u);
  for (const char* expected :
       {"hidden_states.0 F32 [7, 256]", "hidden_states.4 F32 [7, 256]",
        "layers.3.router.logits F32 [7, 32]", "layers.3.router.weights F32 [7, 4]",
        "layers.3.router.ids I32 [7, 4]", "layers.3.router.selection_margin F32 [7]",
        "logits F32 [7, 4096]"}) {
    EXPECT_THAT(found, ::testing::Contains(expected));
  }
}

}  // namespace
}  // namespace cacheready
