// Which tokens speak for an expert: those with the smallest hashes among the tokens that selected
// it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/router.h"
#include "records/scan_record.h"

namespace cacheready {

// Hashes of (seed, layer, expert, document, position). They depend on the document's SHA-256 and
// the token's position in it, not on the batch, so samples of parts of a text merge into the sample
// of the whole.
class TokenHashes {
 public:
  TokenHashes(std::uint64_t seed, std::int64_t layer, std::span<const ScannedDocument> documents);
  std::uint64_t Of(std::int64_t expert, std::int32_t token) const;
  std::uint64_t Shared(std::int32_t token) const;  // the same for all experts
  std::int64_t tokens() const { return static_cast<std::int64_t>(words_.size()); }

 private:
  std::uint64_t seed_, layer_;
  std::vector<std::uint64_t> words_;  // [tokens]: of (document, position)
};

// Which of the tokens that selected an expert speak for it, by rising hash, ties to the lower
// token: the `count` with the smallest hashes of the expert; or, with `shared`, among the `shared`
// tokens of the text with the smallest shared hashes the first `count` by these. Either way what is
// chosen from the choices of parts of a text is what is chosen from the whole text, and a prefix is
// what a smaller count gives.
class SampleChooser {
 public:
  // `hashes` must outlive it.
  SampleChooser(const TokenHashes& hashes, std::int64_t count) : hashes_(hashes), count_(count) {}
  SampleChooser(const TokenHashes& hashes, std::int64_t count, std::int64_t shared);
  std::vector<std::int32_t> Choose(std::int64_t expert,
                                   std::span<const std::int32_t> selected) const;

 private:
  const TokenHashes& hashes_;
  std::int64_t count_;
  std::vector<bool> shared_;  // [tokens]; empty without a shared sample
};

// The choice for each expert among the tokens below hashes.tokens() that selected it.
std::vector<std::vector<std::int32_t>> SampleTokens(const Routing& routing, std::int64_t experts,
                                                    const TokenHashes& hashes,
                                                    const SampleChooser& chooser);

}  // namespace cacheready
