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

// Per expert the `count` tokens below hashes.tokens() that selected it with the smallest hashes, by
// rising hash, ties to the lower token. `allowed` [tokens], where given, restricts the choice.
std::vector<std::vector<std::int32_t>> SampleTokens(const Routing& routing, std::int64_t experts,
                                                    const TokenHashes& hashes, std::int64_t count,
                                                    const std::vector<bool>& allowed = {});

// The `count` tokens of the shared sample, as a mask [tokens].
std::vector<bool> SharedSample(const TokenHashes& hashes, std::int64_t count);

}  // namespace cacheready
