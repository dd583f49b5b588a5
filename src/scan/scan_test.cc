// Whole scans of a shipped checkpoint on a little text.
// SPDX-License-Identifier: Apache-2.0
#include "scan/scan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/statistics.h"
#include "compute/sequence_ops.h"
#include "scan/noise.h"
#include "scan/scan_text.h"
#include "scan/small_moe.h"
#include "scan/small_scan.h"
#include "stream/stream.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

const OpenedModel& Reference() {
  static const OpenedModel opened("reference-fp8");
  return opened;
}

ScanOptions FewTokens() {
  ScanOptions options;
  options.tokens = 768;
  options.document_tokens = 96;
  options.seed = 5;
  options.sample_per_side = 32;
  options.decoys_per_layer = 1;
  return options;
}

class ScanTest : public ScanFolderTest {
 protected:
  ScanHeader Scan(const std::string& name, const ScanOptions& options) const {
    const OpenedModel& opened = Reference();
    return RunScan(opened.checkpoint, *opened.model, CalibrationDocuments(), options,
                   folder_ / name);
  }
};

TEST_F(ScanTest, HeaderNamesTheTextAndOneRecordIsWrittenForEachRoutedLayer) {
  const ScanHeader header = Scan("a", FewTokens());
  EXPECT_EQ(header.profile, "fp8-w8a8");
  EXPECT_EQ(header.family, "qwen3_5_moe");
  EXPECT_EQ(header.probe_tokens, 256);
  EXPECT_EQ(header.moe_layers, (std::vector<std::int64_t>{0, 1, 2, 3}));
  std::set<std::string> domains;
  std::int64_t tokens = 0;
  for (const ScannedDocument& document : header.documents) {
    EXPECT_EQ(document.first_token, tokens);
    tokens += document.tokens;
    domains.insert(document.domain);
  }
  EXPECT_EQ(tokens, 768);
  EXPECT_EQ(domains, (std::set<std::string>{"erlang", "python", "rust", "sql"}));
  EXPECT_EQ(ReadScanHeader(folder_ / "a").key, header.key);
  for (const std::int64_t layer : header.moe_layers) {
    const LayerRecord record = ReadLayerRecord(folder_ / "a", layer);
    EXPECT_EQ(record.layer, layer);
    EXPECT_EQ(record.logits.rows(), 768);
    EXPECT_EQ(record.probe_logits.rows(), 256);
    EXPECT_EQ(record.samples.size(), 32u);
    EXPECT_EQ(record.router.weight.size(), 32u * 256u * 2u);
    EXPECT_EQ(record.decoys.size(), 1u);
  }
}

TEST_F(ScanTest, GivesTheSameBytesForAnyNumberOfThreadsAndAnyMemoryBudget) {
  const int threads = NumThreads();
  SetNumThreads(1);
  Scan("one", FewTokens());
  SetNumThreads(3);
  ScanOptions tight = FewTokens();
  tight.memory_bytes = 1 << 20;
  Scan("three", tight);
  SetNumThreads(threads);
  EXPECT_EQ(Files(folder_ / "one"), Files(folder_ / "three"));
}

TEST_F(ScanTest, GivesTheSameBytesWhateverIsInMemoryAtOnce) {
  Scan("touched", FewTokens());
  const OpenedModel opened("reference-fp8");
  for (const Residency residency :
       {Residency::kLayerAndNext, Residency::kLayer, Residency::kExperts}) {
    opened.model->store()->Use({.residency = residency,
                                .mode = ReadMode::kBuffered,
                                .weight_bytes = std::uint64_t{1} << 30,
                                .expert_bytes = 3 * opened.model->store()->LargestExpertBytes(0),
                                .output_bytes = 1 << 20});
    const std::string name = std::to_string(static_cast<int>(residency));
    RunScan(opened.checkpoint, *opened.model, CalibrationDocuments(), FewTokens(), folder_ / name);
    EXPECT_EQ(Files(folder_ / name), Files(folder_ / "touched"));
  }
}

TEST_F(ScanTest, GoesOnAfterAnInterruptionAtEachLayerWithTheSameBytes) {
  const ScanHeader whole = Scan("whole", FewTokens());
  for (std::int64_t stop = 0; stop < 4; ++stop) {
    const std::string name = "stopped-" + std::to_string(stop);
    ScanOptions options = FewTokens();
    std::int64_t layers_run = 0;
    options.after_layer = [&](std::int64_t layer) {
      ++layers_run;
      if (layer == stop && layers_run == stop + 1) throw Interrupted("test");
    };
    EXPECT_THROW(Scan(name, options), Interrupted);
    EXPECT_FALSE(fs::exists(folder_ / name / "scan.json"));
    EXPECT_EQ(Scan(name, options).key, whole.key);
    EXPECT_EQ(layers_run, 4);
    EXPECT_EQ(Files(folder_ / name), Files(folder_ / "whole"));
  }
}

TEST_F(ScanTest, ReturnsAFinishedScanWithoutRunningALayer) {
  ScanOptions options = FewTokens();
  options.tokens = 64;
  Scan("a", options);
  options.after_layer = [](std::int64_t) { FAIL() << "ran again"; };
  Scan("a", options);
}

TEST_F(ScanTest, RefusesAFolderOfAnotherScanUnlessAskedToDiscardIt) {
  ScanOptions options = FewTokens();
  options.tokens = 64;
  const ScanHeader first = Scan("a", options);
  options.seed = 6;
  EXPECT_THROW(Scan("a", options), Error);
  options.fresh = true;
  EXPECT_NE(Scan("a", options).key, first.key);
}

TEST_F(ScanTest, OfAnotherNumericsClassHasAnotherKeyAndDoesNotGoOn) {
  ScanOptions options = FewTokens();
  options.tokens = 64;
  options.after_layer = [](std::int64_t layer) {
    if (layer == 0) throw Interrupted("test");
  };
  EXPECT_THROW(Scan("a", options), Interrupted);
  options.after_layer = nullptr;
  options.numerics = Numerics::kBf16Avx512;
  EXPECT_THROW(Scan("a", options), Error);
  const ScanHeader header = Scan("b", options);
  EXPECT_EQ(header.numerics_class, "bf16-avx512-1");
  options.numerics = Numerics::kFp32Chain;
  EXPECT_NE(Scan("a", options).key, header.key);
  // The layer's input before its mixer is the same, what routers and experts get is near.
  const LayerRecord bf16 = ReadLayerRecord(folder_ / "b", 0),
                    fp32 = ReadLayerRecord(folder_ / "a", 0);
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < fp32.logits.values().size(); ++i) {
    const double logit = fp32.logits.values()[i];
    difference += std::pow(bf16.logits.values()[i] - logit, 2);
    norm += std::pow(logit, 2);
  }
  EXPECT_GT(difference, 0);
  EXPECT_LT(std::sqrt(difference / norm), 0x1p-7);  // two products of operands of 8 bits
  // Noise is that of fp32 on both: its inputs differ by as little.
  for (std::size_t e = 0; e < fp32.samples.size(); ++e) {
    if (fp32.samples[e].noise.empty() || bf16.samples[e].tokens != fp32.samples[e].tokens) continue;
    EXPECT_NEAR(bf16.samples[e].noise[0] / fp32.samples[e].noise[0], 1, 0.2);
  }
}

// Serving BF16 weights in bf16 does to an expert little more than computing in a bf16 class does.
TEST_F(ScanTest, IsRefusedInAClassWhoseErrorIsNearWhatTheProfileDoes) {
  const Checkpoint olmoe =
      Checkpoint::Open(fs::path(CACHEREADY_SOURCE_DIR) / "goldens/families/olmoe");
  const std::unique_ptr<Model> model = DescribeModel(olmoe);
  std::vector<Document> documents;
  for (std::uint64_t d = 0; d < 40; ++d) {
    Document& document = documents.emplace_back();
    for (std::uint64_t i = 0; i < 64; ++i) {
      document.ids.push_back(static_cast<std::int32_t>(320 * UniformAt(d, i)));
    }
    document.sha256 = std::to_string(d);
  }
  ScanOptions options = FewTokens();
  RunScan(olmoe, *model, documents, options, folder_ / "fp32");
  options.numerics = Numerics::kBf16Avx512;
  try {
    RunScan(olmoe, *model, documents, options, folder_ / "bf16");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("use --numerics fp32"), std::string::npos)
        << error.what();
  }
}

TEST_F(ScanTest, RefusesWeightsThatScaleTheExpertsInputs) {
  const Checkpoint llama =
      Checkpoint::Open(fs::path(CACHEREADY_SOURCE_DIR) / "goldens/families/llama4_text");
  const std::unique_ptr<Model> model = DescribeModel(llama);
  try {
    RunScan(llama, *model, {}, FewTokens(), folder_ / "a");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("multiply the experts' inputs"), std::string::npos);
  }
  EXPECT_FALSE(fs::exists(folder_ / "a"));
}

TEST_F(ScanTest, RecordsWhatTheModelComputes) {
  const ScanOptions options = FewTokens();
  Scan("a", options);
  const ScanText text =
      PrepareScanText(CalibrationDocuments(), options.tokens, options.document_tokens, 5);
  const std::vector<Variant> passes = {
      {.name = "fp32", .arithmetic = Fp32Arithmetic()},
      {.name = "served", .arithmetic = {.profile = &GetProfile("fp8-w8a8"), .dither_seed = {}}}};
  const Model& model = *Reference().model;
  StreamState state = BeginStream(model, text.batch, passes);
  const auto compare = [&](std::int64_t index, const Layer& layer,
                           std::span<const LayerActivations> variants) {
    const LayerRecord record = ReadLayerRecord(folder_ / "a", index);
    for (const std::int32_t t : {0, 1, 300, 767}) {
      const auto n = static_cast<std::size_t>(t);
      EXPECT_TRUE(std::ranges::equal(record.logits.row(t), variants[0].logits.row(t)));
      EXPECT_TRUE(std::ranges::equal(record.profile_logits.row(t), variants[1].logits.row(t)));
      EXPECT_FLOAT_EQ(record.x_norm[n],
                      std::sqrt(static_cast<float>(SquaredNorm(variants[0].x.row(t)))));
      EXPECT_FLOAT_EQ(
          record.profile_change[n],
          static_cast<float>(std::sqrt(SquaredDistance(variants[1].y.row(t), variants[0].y.row(t)) /
                                       SquaredNorm(variants[0].y.row(t)))));
    }
    for (std::size_t e = 0; e < record.samples.size(); ++e) {
      for (const std::int32_t t : record.samples[e].tokens) {
        const auto ids = variants[0].routing.ids_of(t);
        EXPECT_EQ(std::ranges::count(ids, static_cast<std::int32_t>(e)), 1);
      }
      EXPECT_EQ(record.samples[e].noise.size(), record.samples[e].tokens.size());
    }
    ASSERT_FALSE(record.pairs.empty());
    const PairRecord& pair = record.pairs.front();
    const auto& tokens = record.samples[static_cast<std::size_t>(pair.i)].tokens;
    const Matrix f_i = RunExpert(Fp32Arithmetic(), *layer.moe(), pair.i, variants[0].x, tokens);
    const Matrix f_j = RunExpert(Fp32Arithmetic(), *layer.moe(), pair.j, variants[0].x, tokens);
    for (std::size_t n = 0; n < pair.difference_on_i.size(); ++n) {
      const auto r = static_cast<std::int64_t>(n);
      EXPECT_FLOAT_EQ(pair.difference_on_i[n],
                      static_cast<float>(std::sqrt(SquaredDistance(f_i.row(r), f_j.row(r)))));
    }
  };
  while (state.next_layer < 2) AdvanceLayer(model, text.batch, passes, compare, state);
}

// Weights of an expert under a dither seed, as a feed-forward of its own.
FeedForward DitheredCopy(const FeedForward& expert, std::uint64_t seed) {
  const auto copy = [&](const EncodedMatrix& stored) {
    Matrix weights(stored.rows(), stored.cols());
    stored.DecodeRowsDithered(0, stored.rows(), seed, weights.values().data());
    return MakeDenseMatrix(std::move(weights));
  };
  return {copy(*expert.gate), copy(*expert.up), copy(*expert.down), expert.activation};
}

TEST_F(ScanTest, NoiseOfFp8ExpertsIsTheRoundingOfTheirWeightsAndOfWhatTheProfileRounds) {
  const std::unique_ptr<Layer> layer = Reference().model->OpenLayer(1);
  const MoeBlock& moe = *layer->moe();
  const Matrix x = NormalMatrix(16, 256, 1, 77);
  const std::vector<std::int32_t> rows = {2, 3, 5, 15};
  const auto fp32 = RenditionNoise(moe, 7, x, rows, {&GetProfile("fp32"), 4, 1});
  const auto w8a8 = RenditionNoise(moe, 7, x, rows, {&GetProfile("fp8-w8a8"), 4, 1});
  const FeedForward dithered = DitheredCopy(moe.experts[7], HashWords({4, 1, 7}));
  const Matrix reference = RunExpert(Fp32Arithmetic(), moe, 7, x, rows);
  const Matrix moved =
      RunFeedForward(Fp32Arithmetic(), Role::kExpert, dithered, GatherRows(x, rows));
  for (std::size_t n = 0; n < rows.size(); ++n) {
    const auto r = static_cast<std::int64_t>(n);
    const double expected =
        std::sqrt(SquaredDistance(moved.row(r), reference.row(r)) / SquaredNorm(reference.row(r)));
    EXPECT_FLOAT_EQ(fp32[n], static_cast<float>(expected));
    EXPECT_GT(w8a8[n], fp32[n]);
    EXPECT_LT(w8a8[n], 3 * fp32[n]);
  }
}

// Codes of FP8 activations are exact in bf16, dithered codes of weights rounded to a sixteenth of
// the step that the dither moves them by: in squares, 1/256 more.
TEST_F(ScanTest, NoiseOfFp8ActivationsIsAlmostTheSameInABf16Class) {
  const std::unique_ptr<Layer> layer = Reference().model->OpenLayer(1);
  const Matrix x = NormalMatrix(64, 256, 1, 77);
  std::vector<std::int32_t> rows(64);
  std::iota(rows.begin(), rows.end(), 0);
  const auto rms = [&](Numerics numerics) {
    std::vector<std::vector<float>> noise;
    for (std::int64_t expert = 0; expert < 12; ++expert) {
      noise.push_back(RenditionNoise(*layer->moe(), expert, x, rows,
                                     {&GetProfile("fp8-w8a8"), 4, 1, numerics}));
    }
    return RootMeanSquare(NoisePerExpert(noise));
  };
  const double fp32 = rms(Numerics::kFp32Chain);
  for (const Numerics numerics : {Numerics::kBf16Amx, Numerics::kBf16Avx512}) {
    const double in_class = rms(numerics);
    EXPECT_NE(in_class, fp32);
    EXPECT_NEAR(in_class, fp32, 0.005 * fp32) << NumericsClassName(numerics);
  }
}

TEST_F(ScanTest, EstimatesNoLessThanItWrites) {
  const ScanOptions options = FewTokens();
  Scan("a", options);
  const Model& model = *Reference().model;
  const Model* const models[] = {&model};
  const MemoryPlan plan = PlanMemory(models, ScanMemory(model, options), {});
  const ScanEstimate estimate = EstimateScan(model, options, plan);
  std::uint64_t written = 0;
  for (const auto& [name, bytes] : Files(folder_ / "a")) written += bytes.size();
  EXPECT_GE(estimate.record_bytes, written - (1 << 16));  // headers aside
  std::uint64_t weights = 0;  // of layers and embedding: a scan runs neither head nor MTP block
  for (const std::string_view name : Reference().checkpoint.TensorNames()) {
    const bool is_run = name.find("mtp") == name.npos && name.find("visual") == name.npos &&
                        (name.find(".layers.") != name.npos || name.find("embed") != name.npos);
    if (is_run) weights += Reference().checkpoint.GetTensor(name).bytes.size();
  }
  EXPECT_GE(estimate.read_bytes, weights);
  EXPECT_LE(estimate.read_bytes, weights + weights / 10);  // whole pages

  // Noise is measured from fp32 outputs in every class; what else is computed is not in fp32 there.
  ScanOptions in_class = options;
  in_class.numerics = Numerics::kBf16Amx;
  const ScanEstimate other = EstimateScan(model, in_class, plan);
  EXPECT_GT(other.fp32_flops, 0);
  EXPECT_EQ(other.fp32_flops, estimate.fp32_flops);
  EXPECT_LT(other.fp32_flops, other.flops / 2);
  EXPECT_GT(other.flops, estimate.flops);  // the class's own error is measured too
}

}  // namespace
}  // namespace cacheready
