// tiktoken.model and tokenizer_config.json as Kimi's tokenization_kimi.py reads them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/added_tokens.h"

namespace cacheready {

// The bytes of each token, by rank, from lines of base64, a space and the rank. Fails unless the
// ranks are 0 to n - 1; `what` names the file.
std::vector<std::string> ParseTiktokenRanks(std::string_view contents, std::string_view what);

// The 256 tokens behind the ranks: as added_tokens_decoder names them, the others
// "<|reserved_token_ID|>". `config` is a tokenizer_config.json; fails if its tokenizer_class is not
// Kimi's, whose split pattern no file but its source tells.
std::vector<AddedToken> ParseTiktokenSpecialTokens(const Json& config, std::int64_t num_ranks,
                                                   std::string_view what);

// The parts of well-formed UTF-8 `text` that are encoded apart: at most 400,000 characters, at most
// 25,000 of them in a run of spaces or of others.
std::vector<std::string_view> CutLongText(std::string_view text);

}  // namespace cacheready
