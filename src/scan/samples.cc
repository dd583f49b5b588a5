// SPDX-License-Identifier: Apache-2.0
#include "scan/samples.h"

#include <algorithm>
#include <utility>

#include "base/parallel.h"
#include "base/random.h"

namespace cacheready {
namespace {

using HashedToken = std::pair<std::uint64_t, std::int32_t>;
constexpr std::uint64_t kNoExpert = ~std::uint64_t{0};

void KeepSmallest(std::vector<HashedToken>& tokens, std::int64_t count) {
  std::sort(tokens.begin(), tokens.end());
  if (static_cast<std::int64_t>(tokens.size()) > count) {
    tokens.resize(static_cast<std::size_t>(count));
  }
}

}  // namespace

TokenHashes::TokenHashes(std::uint64_t seed, std::int64_t layer,
                         std::span<const ScannedDocument> documents)
    : seed_(seed), layer_(static_cast<std::uint64_t>(layer)) {
  for (const ScannedDocument& document : documents) {
    const std::uint64_t identity = HashText(0, document.sha256);
    for (std::int64_t p = 0; p < document.tokens; ++p) {
      words_.push_back(HashWords({identity, static_cast<std::uint64_t>(p)}));
    }
  }
}

std::uint64_t TokenHashes::Of(std::int64_t expert, std::int32_t token) const {
  return HashWords(
      {seed_, layer_, static_cast<std::uint64_t>(expert), words_[static_cast<std::size_t>(token)]});
}

std::uint64_t TokenHashes::Shared(std::int32_t token) const {
  return HashWords({seed_, layer_, kNoExpert, words_[static_cast<std::size_t>(token)]});
}

SampleChooser::SampleChooser(const TokenHashes& hashes, std::int64_t count, std::int64_t shared)
    : hashes_(hashes), count_(count) {
  std::vector<HashedToken> hashed;
  for (std::int64_t t = 0; t < hashes.tokens(); ++t) {
    const auto token = static_cast<std::int32_t>(t);
    hashed.emplace_back(hashes.Shared(token), token);
  }
  KeepSmallest(hashed, shared);
  shared_.assign(static_cast<std::size_t>(hashes.tokens()), false);
  for (const HashedToken& token : hashed) shared_[static_cast<std::size_t>(token.second)] = true;
}

std::vector<std::int32_t> SampleChooser::Choose(std::int64_t expert,
                                                std::span<const std::int32_t> selected) const {
  std::vector<HashedToken> hashed;
  for (const std::int32_t token : selected) {
    if (shared_.empty()) {
      hashed.emplace_back(hashes_.Of(expert, token), token);
    } else if (shared_[static_cast<std::size_t>(token)]) {
      hashed.emplace_back(hashes_.Shared(token), token);
    }
  }
  KeepSmallest(hashed, count_);
  std::vector<std::int32_t> chosen;
  chosen.reserve(hashed.size());
  for (const HashedToken& token : hashed) chosen.push_back(token.second);
  return chosen;
}

std::vector<std::vector<std::int32_t>> SampleTokens(const Routing& routing, std::int64_t experts,
                                                    const TokenHashes& hashes,
                                                    const SampleChooser& chooser) {
  std::vector<std::vector<std::int32_t>> samples(static_cast<std::size_t>(experts));
  for (std::int64_t t = 0; t < hashes.tokens(); ++t) {
    for (const std::int32_t e : routing.ids_of(t)) {
      samples[static_cast<std::size_t>(e)].push_back(static_cast<std::int32_t>(t));
    }
  }
  ParallelFor(experts, [&](std::int64_t e) {
    auto& tokens = samples[static_cast<std::size_t>(e)];
    tokens = chooser.Choose(e, tokens);
  });
  return samples;
}

}  // namespace cacheready
