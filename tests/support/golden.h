// Comparison of a forward pass with what transformers computed in fp32 on the same weights.
//
// Agreement: relative L2 <= 1e-4 per tensor and <= 1e-3 per token; selections equal wherever the
// gap of the ranking score at the boundary, over 1 + its magnitude, exceeds 1e-4 (group scores
// too). Where a nearer tie falls otherwise, the golden's ids are forced in that layer, which is
// listed, and what follows is compared.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace cacheready {

struct GoldenCase {
  std::filesystem::path checkpoint;  // folder
  std::filesystem::path golden;      // safetensors file
  // What the golden calls the outputs of a layer's router ("...layers.N.<router>.output0"); "" =
  // not stored.
  std::string logits = "output0";
  std::string weights = "output1";
  std::string ids = "output2";         // not stored: the best of the logits count
  std::string scattered_weights = {};  // [tokens, experts], 0 where not selected
};

struct GoldenReport {
  std::vector<std::string> disagreements;  // empty: agrees
  std::vector<std::string> forced;         // layers whose near ties fell otherwise
  std::vector<std::string> compared;       // tensors, with their largest errors
  double worst_tensor = 0;                 // relative L2
  double worst_token = 0;
  double worst_hidden = 0, worst_logits = 0;  // relative L2 of the hidden states, of the logits
  std::int64_t selections = 0;                // (token, routed layer) compared ...
  std::int64_t equal_selections = 0;          // ... and the same experts selected
};
GoldenReport CompareWithGolden(const GoldenCase& golden);

// All of it as text, one line an entry.
std::string Text(const GoldenReport& report);
// The worst of it, in one line.
std::string Summary(const GoldenReport& report);

}  // namespace cacheready
