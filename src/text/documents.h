// Calibration and evaluation text: JSON lines with `text`, `messages` or `ids`, and an optional
// `domain`. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace cacheready {

struct Document {
  std::vector<std::int32_t> ids;
  std::string domain;     // "" if the line names none
  std::string sha256;     // hex, of the ids as little-endian int32
  std::int64_t line = 0;  // in its file, from 1
};

// All documents of JSONL `contents` (named `what` in messages), in order; each cut at max_tokens
// ids (0 = not cut), those with fewer than min_tokens left out. Empty lines are skipped. `messages`
// ([{"role": .., "content": text or [{"type": "text", "text": ..}, ..]}, ..]) are rendered as
// ChatML, "<|im_start|>role\ncontent<|im_end|>\n" each, where the tokenizer has both tokens, and
// refused otherwise. `ids` need no tokenizer (it may be null then). Fails naming file and line.
std::vector<Document> ParseDocuments(std::string_view contents, std::string_view what,
                                     const Tokenizer* tokenizer, std::int64_t max_tokens,
                                     std::int64_t min_tokens);

// Token ids for `forward --ids`: JSON ([..] or [[..], ..]), .npy (1-D or 2-D integers), or a
// safetensors with `input_ids`; recognized by the first bytes and the name ".safetensors". No row
// is empty.
std::vector<std::vector<std::int32_t>> ReadIdsFile(const std::filesystem::path& path);

// Chooses documents until `tokens` tokens are taken (the last one cut), stratified by domain (equal
// token shares, what one domain lacks goes to the others), order within a domain by hash(seed,
// document sha256). Result: documents sorted by (domain, sha256). Deterministic in (documents as a
// set, seed): a document that occurs twice in a domain counts once.
std::vector<Document> SampleDocuments(std::vector<Document> documents, std::int64_t tokens,
                                      std::uint64_t seed);

}  // namespace cacheready
