// Parts of a scan, merged, against the scan that was never split.
// SPDX-License-Identifier: Apache-2.0
#include "scan/merge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <string>

#include "base/error.h"
#include "records/scan_part.h"
#include "scan/merge_layer.h"
#include "scan/scan.h"
#include "scan/small_scan.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// That an action throws an Error which says `words`.
auto Refuses(const std::string& words) { return ThrowsMessage<Error>(HasSubstr(words)); }

class MergeTest : public ScanFolderTest {
 protected:
  // A few documents, so that samples of all sizes are cut; nearly every pair is a candidate.
  static ScanOptions FewTokens() {
    ScanOptions options;
    options.tokens = 512;
    options.document_tokens = 64;
    options.sample_per_side = 24;
    options.shared_sample = 160;
    options.decoys_per_layer = 1;
    return options;
  }

  static fs::path ScanInto(const fs::path& out, ScanOptions options, const ScanPart& part) {
    static const OpenedModel upcycled("upcycled-fp8");
    options.part = part;
    RunScan(upcycled.checkpoint, *upcycled.model, CalibrationDocuments(), options, out);
    return out;
  }

  fs::path Scan(const std::string& name, const ScanOptions& options) const {
    return ScanInto(folder_ / name, options, {});
  }

  std::vector<fs::path> ScanParts(const ScanOptions& options, std::int64_t of) const {
    std::vector<fs::path> folders;
    for (std::int64_t number = 1; number <= of; ++number) {
      const ScanPart part{number, of};
      folders.push_back(ScanInto(folder_ / PartFolder(part), options, part));
    }
    return folders;
  }

  // A finished part without layers, as OpenParts reads it.
  fs::path WritePart(const std::string& name, const ScanHeader& header) const {
    fs::create_directories(folder_ / name);
    WriteScanHeader(folder_ / name, header);
    return folder_ / name;
  }
};

TEST_F(MergeTest, OfFourPartsGivesTheBytesOfTheWholeScan) {
  const fs::path whole = Scan("whole", FewTokens());
  // Candidates are too many for samples of their own.
  ASSERT_GT(ReadLayerRecord(whole, 1).pairs.size(), 8u * 32u);
  std::vector<fs::path> parts = ScanParts(FewTokens(), 4);
  std::swap(parts[0], parts[3]);  // the order in which they are given does not matter
  MergeParts(OpenParts(parts), {}, folder_ / "merged");
  EXPECT_EQ(Files(folder_ / "merged"), Files(whole));
  // A whole scan is part 1 of 1.
  MergeParts(OpenParts(std::vector{whole}), {}, folder_ / "copy");
  EXPECT_EQ(Files(folder_ / "copy"), Files(whole));
}

TEST_F(MergeTest, OfSixteenPartsSomeEmptyGivesTheBytesOfTheWholeScan) {
  ScanOptions options = FewTokens();
  options.pairs_per_expert = 16;  // each expert has a sample of its own
  const fs::path whole = Scan("whole", options);
  const std::vector<fs::path> parts = ScanParts(options, 16);
  const auto empty = [](const fs::path& part) {
    return ReadLayerRecord(part, 0).logits.rows() == 0;
  };
  EXPECT_TRUE(std::any_of(parts.begin(), parts.end(), empty));
  MergeParts(OpenParts(parts), {}, folder_ / "merged");
  EXPECT_EQ(Files(folder_ / "merged"), Files(whole));
}

TEST_F(MergeTest, StoppedLeavesNoFinishedScanAndIsRunAgain) {
  const std::vector<fs::path> parts = ScanParts(FewTokens(), 2);
  MergeOptions options;
  options.after_layer = [](std::int64_t layer) {
    if (layer == 1) throw Interrupted("test");
  };
  EXPECT_THROW(MergeParts(OpenParts(parts), options, folder_ / "merged"), Interrupted);
  EXPECT_THAT([&] { ReadScanHeader(folder_ / "merged"); }, Refuses("no finished scan"));
  MergeParts(OpenParts(parts), {}, folder_ / "merged");
  EXPECT_EQ(Files(folder_ / "merged"), Files(Scan("whole", FewTokens())));
  // Once finished it is left alone.
  options.after_layer = [](std::int64_t) { FAIL() << "merged again"; };
  MergeParts(OpenParts(parts), options, folder_ / "merged");
}

TEST_F(MergeTest, RefusesToWriteOverAPartOrAnotherScan) {
  const std::vector<fs::path> parts = ScanParts(FewTokens(), 2);
  const auto opened = OpenParts(parts);
  const auto before = Files(parts[1]);
  const MergeOptions fresh{.fresh = true, .after_layer = {}};
  EXPECT_THAT([&] { MergeParts(opened, fresh, parts[1]); }, Refuses("one of the parts"));
  EXPECT_EQ(Files(parts[1]), before);
  ScanOptions other = FewTokens();
  other.seed = 9;
  const fs::path out = Scan("out", other);
  EXPECT_THAT([&] { MergeParts(opened, {}, out); }, Refuses("holds a scan of another"));
  MergeParts(opened, fresh, out);
  EXPECT_EQ(ReadScanHeader(out).key, opened.whole.key);
}

TEST_F(MergeTest, APartsFolderIsNotTakenForAnotherPartsScan) {
  const fs::path first = ScanInto(folder_ / "a", FewTokens(), {1, 2});
  EXPECT_THAT(
      [&] {
        ScanInto(first, FewTokens(), {2, 2});
      },
      Refuses("another checkpoint, text, part"));
}

TEST_F(MergeTest, RefusesRecordsThatDoNotFitTogether) {
  const std::vector<fs::path> folders = ScanParts(FewTokens(), 2);
  const ScanHeader header = ReadScanHeader(folders[0]);
  const std::vector<LayerRecord> good = {ReadLayerRecord(folders[0], 0),
                                         ReadLayerRecord(folders[1], 0)};
  MergeLayer(header, good);
  const auto refused = [&](const std::function<void(LayerRecord&)>& change) {
    std::vector<LayerRecord> parts = good;
    change(parts[1]);
    return [header, parts] { MergeLayer(header, parts); };
  };
  EXPECT_THAT(refused([](LayerRecord& r) { r.logits = Matrix(3, 32); }), Refuses("3 tokens"));
  EXPECT_THAT(refused([](LayerRecord& r) { r.router.weight[5] ^= std::byte{1}; }),
              Refuses("the router"));
  EXPECT_THAT(refused([](LayerRecord& r) { r.probe_logits.at(3, 4) += 1e-3f; }),
              Refuses("the logits of the probe"));
  EXPECT_THAT(refused([](LayerRecord& r) { r.nearest[2] = 0; }), Refuses("the nearest experts"));
  EXPECT_THAT(refused([](LayerRecord& r) { r.pairs[7].candidate = !r.pairs[7].candidate; }),
              Refuses("the measured pairs"));
  EXPECT_THAT(refused([](LayerRecord& r) { r.pairs[7].probe_distance[0] += 1e-3f; }),
              Refuses("the measured pairs"));
  EXPECT_THAT(refused([](LayerRecord& r) { r.decoys.pop_back(); }), Refuses("the decoys"));
  EXPECT_THAT(refused([](LayerRecord& r) { r.ranked_per_token = 0; }),
              Refuses("the ranked experts"));
  EXPECT_THAT(refused([](LayerRecord& r) { r.samples[0].noise.clear(); }),
              Refuses("part 2 of 2 has 0 values of noise"));
  EXPECT_THAT(refused([](LayerRecord& r) { r.pairs[0].difference_on_j.clear(); }),
              Refuses("values of a pair"));
}

ScanHeader HeaderOfPart(std::int64_t number, std::int64_t of) {
  ScanHeader header;
  header.tool_version = "1";
  header.key = "key";
  header.family = "mixtral";
  header.layout_sha256 = "layout";
  header.profile = "bf16-tp1";
  header.numerics_class = "fp32-chain-1";
  header.layers = 2;
  header.options["tokens"] = 3;
  header.part = {number, of};
  header.documents = {{"aa", "law", 0, 2}, {"bb", "", 2, 1}};
  return header;
}

TEST_F(MergeTest, RefusesGapsAndOverlaps) {
  std::vector<fs::path> parts;
  for (const std::int64_t number : {1, 3, 5}) {
    parts.push_back(WritePart("part-" + std::to_string(number), HeaderOfPart(number, 5)));
  }
  EXPECT_THAT([&] { OpenParts(parts); }, Refuses("of 5 parts these are missing: 2, 4"));
  parts.push_back(WritePart("again", HeaderOfPart(3, 5)));
  EXPECT_THAT([&] { OpenParts(parts); }, Refuses(parts[1].string() + "' and '" + parts[3].string() +
                                                 "' are both part 3 of 5"));
  EXPECT_THAT([] { OpenParts({}); }, Refuses("no part is given"));
}

TEST_F(MergeTest, RefusesPartsOfOtherScansAndSaysInWhatTheyDiffer) {
  const fs::path first = WritePart("first", HeaderOfPart(1, 2));
  const auto refused = [&](const std::function<void(ScanHeader&)>& change) {
    ScanHeader header = HeaderOfPart(2, 2);
    change(header);
    const std::vector<fs::path> parts = {first, WritePart("second", header)};
    return [parts] { OpenParts(parts); };
  };
  refused([](ScanHeader&) {})();
  EXPECT_THAT(refused([](ScanHeader& h) { h.numerics_class = "bf16-amx-1"; }),
              Refuses("numerics classes: 'fp32-chain-1' and 'bf16-amx-1'"));
  EXPECT_THAT(refused([](ScanHeader& h) { h.layout_sha256 = "other"; }), Refuses("checkpoints"));
  EXPECT_THAT(refused([](ScanHeader& h) { h.family = "olmoe"; }), Refuses("checkpoints"));
  EXPECT_THAT(refused([](ScanHeader& h) { h.key = "other"; }),
              Refuses("config, router tensors or tokenizer"));
  EXPECT_THAT(refused([](ScanHeader& h) { h.profile = "fp32"; }),
              Refuses("profiles: 'bf16-tp1' and 'fp32'"));
  EXPECT_THAT(refused([](ScanHeader& h) { h.seed = 7; }), Refuses("seeds: '0' and '7'"));
  EXPECT_THAT(refused([](ScanHeader& h) { h.options["tokens"] = 4; }),
              Refuses("option 'tokens': 3 and 4"));
  EXPECT_THAT(refused([](ScanHeader& h) { h.documents[1].sha256 = "cc"; }),
              Refuses("lists of documents"));
  EXPECT_THAT(refused([](ScanHeader& h) { h.tool_version = "2"; }), Refuses("versions"));
  EXPECT_THAT(refused([](ScanHeader& h) {
                h.part = {3, 4};
              }),
              Refuses("numbers of parts: 2 and 4"));
}

TEST_F(MergeTest, RefusesAPartWithoutItsRecords) {
  ScanHeader header = HeaderOfPart(1, 1);
  header.moe_layers = {1};
  const std::vector<fs::path> parts = {WritePart("part", header)};
  EXPECT_THAT([&] { OpenParts(parts); }, Refuses("layer-0001.safetensors: is missing"));
}

}  // namespace
}  // namespace cacheready
