// What a scan leaves behind: measurements per token, never aggregated, from which plans are made
// without the model. On disk: SCAN/scan.json and SCAN/layer-NNNN.safetensors
// (docs/formats/scan.md). Readers Fail on anything malformed, naming file and tensor.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "tensor/dtype.h"
#include "tensor/matrix.h"

namespace cacheready {

struct ScannedDocument {
  std::string sha256;  // of its token ids (little-endian int32)
  std::string domain;  // "" if the file names none
  std::int64_t first_token = 0;
  std::int64_t tokens = 0;
};

// Which share of the documents a scan ran on (records/scan_part.h).
struct ScanPart {
  std::int64_t number = 1, of = 1;
  friend bool operator==(const ScanPart&, const ScanPart&) = default;
};

struct ScanHeader {
  std::string tool_version;
  std::string key;  // SHA-256 over everything that decides the records; the same for all parts
  std::string family;
  std::string layout_sha256;  // Checkpoint::LayoutSha256
  std::string profile;
  std::string numerics_class;
  std::uint64_t seed = 0;
  std::int64_t hidden = 0, layers = 0;
  ScanPart part;                           // the records are of its documents only
  std::vector<ScannedDocument> documents;  // of all parts
  std::int64_t probe_tokens = 0;           // tokens on which all experts were run
  std::vector<std::int64_t> moe_layers;    // each has a layer record
  Json options;                            // as chosen, for people
};

// Tokens sampled on behalf of one expert (all selected it in the fp32 pass), by rising hash: a
// prefix is a smaller sample.
struct ExpertSample {
  std::vector<std::int32_t> tokens;
  std::vector<float>
      noise;  // rendition noise nu_e(t), relative L2 against fp32 (first noise.size() tokens)
};

// Outputs of experts i < j compared on sampled tokens.
struct PairRecord {
  std::int32_t i = 0, j = 0;
  bool candidate = false;  // probe distance below 3 x threshold: measured on the full samples
  // ||f_i - f_j|| and max(||f_i||, ||f_j||) on the first n tokens of samples[i] and of samples[j].
  std::vector<float> difference_on_i, larger_norm_on_i;
  std::vector<float> difference_on_j, larger_norm_on_j;
  std::vector<float> probe_distance;  // r_ij(t) on each probe token [probe_tokens]
};

// A control: an expert whose weights got Gaussian noise until its outputs lie at twice the pair
// threshold, compared with the original on a prefix of samples[expert]. Planning judges it as it
// judges one side of a pair (RMS and p95 of difference / larger_norm, upper limits, against
// tolerance * sqrt(2) * nu of the expert): it must be refused. A decoy without the evidence that a
// pair needs is not counted.
struct DecoyRecord {
  std::int32_t expert = 0;
  std::vector<float> difference, larger_norm;  // [n]: ||f - f_decoy||, max(||f||, ||f_decoy||)
};

// The router as stored, so that plans can be made from the scan alone.
struct RouterRecord {
  std::string weight_tensor, logit_bias_tensor, selection_bias_tensor;  // "" where there is none
  Dtype weight_dtype = Dtype::kBF16, logit_bias_dtype = Dtype::kBF16,
        selection_bias_dtype = Dtype::kF32;
  std::vector<std::byte> weight;  // [experts, hidden] stored bytes
  std::vector<std::byte> logit_bias, selection_bias;
  Json spec;  // model/router.h ToJson
};

struct LayerRecord {
  std::int64_t layer = 0;
  RouterRecord router;
  Matrix logits;                        // [tokens, experts], fp32 pass
  Matrix profile_logits;                // [tokens, experts], profile pass with its own drift
  Matrix probe_logits;                  // [probe_tokens, experts], fp32 pass
  std::vector<float> x_norm, y_norm;    // [tokens], fp32 pass
  std::vector<float> profile_change;    // [tokens]: ||y_profile - y|| / ||y||
  std::vector<ExpertSample> samples;    // [experts]
  std::vector<PairRecord> pairs;        // ascending (i, j)
  std::vector<std::int32_t> nearest;    // [experts]: nearest neighbour on the probe
  std::vector<float> nearest_distance;  // [experts]: its probe distance (ratio of sums)
  std::vector<DecoyRecord> decoys;      // ascending expert
  // For layers with a candidate pair, else empty:
  Matrix x;                          // [tokens, hidden]
  std::vector<std::int32_t> ranked;  // [tokens * 2k]: experts ranked 1 ... 2k (at most `experts`)
  // Gram matrix of (outputs of ranked experts, gated shared part), upper triangle row by row, fp64:
  std::vector<double> gram;  // [tokens, (r+1)(r+2)/2] with r = ranked per token
  std::int64_t ranked_per_token = 0;
};

// The file of one layer inside a scan folder: "layer-0007.safetensors".
std::filesystem::path LayerRecordFile(const std::filesystem::path& scan, std::int64_t layer);

void WriteScanHeader(const std::filesystem::path& scan, const ScanHeader& header);
ScanHeader ReadScanHeader(const std::filesystem::path& scan);
void WriteLayerRecord(const std::filesystem::path& scan, const LayerRecord& record);
LayerRecord ReadLayerRecord(const std::filesystem::path& scan, std::int64_t layer);

}  // namespace cacheready
